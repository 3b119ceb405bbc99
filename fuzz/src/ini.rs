//! The INI file.

use std::fmt::Write as _;

use pserve::config::{Document, parse_ini};

use crate::door::{Door, as_text, door};
use crate::pieces::text;

/// Stands for a secret, where it is in a value.
const SECRET: &str = "s3cr3tV4lue";

const PIECES: &[&str] = &[
    "[",
    "]",
    "[a]",
    "\n[b]\n",
    "\n[A]\n",
    "=",
    ":",
    "key",
    "\nkey=",
    "\nKEY: ",
    "\u{130}",
    "\u{3a3}",
    "x",
    "\n",
    "\r\n",
    "\r",
    " ",
    "\t",
    "\n  ",
    "\n\t",
    "#",
    ";",
    "\n; comment\n",
    "=s3cr3tV4lue",
    "\u{feff}",
    "\u{1c}",
    "\u{b}",
    "\u{2028}",
    "\u{a0}",
    "${a:key}",
    "\"",
    "%(key)s",
    "\\",
];

fn check(text: &str) {
    let (document, errors) = parse_ini(text);
    assert!((document, errors) == parse_ini(text), "two readings differ");
    let (document, errors) = parse_ini(text);

    let lines = text.replace("\r\n", "\n").split(['\n', '\r']).count();
    let is_line = |line: usize| (1..=lines).contains(&line);
    assert!(errors.iter().all(|error| is_line(error.line)), "an error beyond the text");
    assert!(errors.is_sorted_by_key(|error| error.line), "errors out of order");
    let secret = SECRET.to_lowercase();
    // Names are shown.
    let named_so = document.sections.iter().any(|section| {
        section.name.contains(&secret) || section.entries.iter().any(|entry| entry.key.contains(&secret))
    });
    for error in &errors {
        assert!(named_so || !error.message.to_lowercase().contains(&secret), "an error shows a value");
        let message = &error.message;
        assert!(!message.contains(['\n', '\r']), "an error of several lines");
    }

    let mut at = 0;
    for section in &document.sections {
        assert!(is_line(section.line) && section.line > at, "sections out of order");
        assert_eq!(section.name, section.name.to_lowercase());
        at = section.line;
        for entry in &section.entries {
            assert!(is_line(entry.line) && entry.line > at, "entries out of order");
            assert_eq!(entry.key, entry.key.to_lowercase());
            assert_eq!(entry.key, entry.key.trim());
            assert!(!entry.key.is_empty());
            at = entry.line;
        }
    }
    if errors.is_empty() {
        written_again(&document);
    }
}

/// What was read without an error means the same once it is written plainly.
fn written_again(document: &Document) {
    let mut text = String::new();
    for section in &document.sections {
        let _ = writeln!(text, "[{}]", section.name);
        for entry in &section.entries {
            let _ = writeln!(text, "{} = {}", entry.key, entry.value.replace('\n', "\n\t"));
        }
    }
    let (again, errors) = parse_ini(&text);
    assert_eq!(errors, [], "{text:?}");
    let plain = |document: &Document| -> Vec<(String, Vec<(String, String)>)> {
        let sections = document.sections.iter();
        sections
            .map(|section| {
                let entries = section.entries.iter();
                let entries = entries.map(|entry| (entry.key.clone(), entry.value.clone()));
                (section.name.clone(), entries.collect())
            })
            .collect()
    };
    assert_eq!(plain(&again), plain(document), "{text:?}");
}

pub(crate) fn open() -> Box<dyn Door> {
    let shipped: &[&[u8]] = &[include_bytes!("../../config/pserve.ini")];
    Box::new(door(text(PIECES, 40), |text: String| check(&text)).raw(as_text, shipped).words(PIECES))
}
