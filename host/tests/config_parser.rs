//! Our INI grammar against the one it follows: Python's `ConfigParser(interpolation=None)`, on generated files.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use pserve::config::parse_ini;

const FILES: usize = 5_000;

/// Reads a JSON list of texts and writes a JSON list of what they hold: `{section: {key: value}}`, or null.
const PYTHON: &str = r#"
import configparser, io, json, sys
answers = []
for text in json.load(sys.stdin):
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_file(io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8-sig"))
        answers.append({name: dict(parser[name]) for name in parser.sections()})
    except configparser.Error:
        answers.append(None)
json.dump(answers, sys.stdout)
"#;

type Sections = BTreeMap<String, BTreeMap<String, String>>;

/// Pieces of files: whole lines as people write them, and fragments that meet in ways nobody thinks of.
fn file() -> impl Strategy<Value = String> {
    let line = prop::sample::select(vec![
        "[network]\n",
        "[a b]\n",
        "[auth] ; comment\n",
        "port = 1\n",
        "Key: value\n",
        "key=a=b:c\n",
        "other:\n",
        "  continued\n",
        "\tcontinued # not a comment\n",
        "    # a comment within\n",
        "; comment\n",
        "\n",
        "  \n",
        "no value\n",
        "k ey = \u{fc} \u{1f600} \"quoted\" %(x)s ${y}\n",
    ]);
    let fragment = prop::sample::select(vec![
        "[", "]", "=", ":", "#", ";", " ", "\t", "\n", "\r\n", "\r", "key", "x", "\u{a0}", "\u{fc}",
        "\u{2028}", "\u{b}", "\u{1f}", "\\", "[x]", "= =", "::",
    ]);
    let piece = prop_oneof![3 => line, 1 => fragment];
    let mark = prop_oneof![9 => Just(""), 1 => Just("\u{feff}")];
    let first = prop_oneof![4 => Just("[first]\n"), 1 => Just("")];
    (mark, first, vec(piece, 0..14))
        .prop_map(|(mark, first, pieces)| format!("{mark}{first}{}", pieces.concat()))
}

fn ours(text: &str) -> Option<Sections> {
    let (document, errors) = parse_ini(text);
    let section = |section: pserve::config::Section| {
        (section.name, section.entries.into_iter().map(|entry| (entry.key, entry.value)).collect())
    };
    errors.is_empty().then(|| document.sections.into_iter().map(section).collect())
}

fn pythons(texts: &[String]) -> Vec<Option<Sections>> {
    let mut python = Command::new("python3")
        .args(["-c", PYTHON])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    let mut stdin = python.stdin.take().expect("its input is piped");
    stdin
        .write_all(serde_json::to_string(texts).expect("texts are JSON").as_bytes())
        .expect("it reads the files");
    drop(stdin);
    let output = python.wait_with_output().expect("it answers");
    assert!(output.status.success(), "python3 failed");
    serde_json::from_slice(&output.stdout).expect("its answer is JSON")
}

#[test]
fn the_grammar_is_that_of_pythons_configparser() {
    let mut runner = TestRunner::deterministic();
    let strategy = file();
    let texts: Vec<String> =
        (0..FILES).map(|_| strategy.new_tree(&mut runner).expect("a file").current()).collect();
    let mut valid = 0;
    for (text, expected) in texts.iter().zip(pythons(&texts)) {
        let found = ours(text);
        assert_eq!(found, expected, "{text:?}");
        valid += usize::from(found.is_some());
    }
    // Both kinds are there, so the comparison means something.
    assert!(valid > FILES / 20 && valid < FILES, "{valid} of {FILES} are valid");
    eprintln!("{FILES} files, {valid} of them valid, no difference");
}
