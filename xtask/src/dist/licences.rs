//! The licences of others, whose words have to go with every copy.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::crates::Crate;

const BEGINNINGS: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];

/// Each text once, under the names of all that it is of.
pub(super) fn text(crates: &[Crate]) -> Result<String> {
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut list =
        String::from("What is compiled into these programs, and under which licences it may be.\n\n");
    for each in crates.iter().filter(|each| each.checksum.is_some()) {
        let name = format!("{} {}", each.name, each.version);
        writeln!(list, "{name}: {}", each.licence)?;
        for text in texts_in(&each.folder).with_context(|| format!("in the source of {name}"))? {
            texts.entry(text).or_default().push(name.clone());
        }
    }
    list.push_str(
        "the standard library of Rust: MIT OR Apache-2.0, copyright The Rust Project contributors\n",
    );
    let mut texts: Vec<_> = texts.into_iter().collect();
    texts.sort_by(|(_, left), (_, right)| left.cmp(right));
    for (text, names) in texts {
        write!(list, "\n{}\n{}\n{}\n\n{text}\n", "=".repeat(78), names.join(", "), "=".repeat(78))?;
    }
    Ok(list)
}

/// Some packages have none, and name the licence alone.
fn texts_in(folder: &Path) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        if entry.file_type()?.is_file() && BEGINNINGS.iter().any(|beginning| name.starts_with(beginning)) {
            texts.push(String::from_utf8_lossy(&fs::read(entry.path())?).trim().replace("\r\n", "\n"));
        }
    }
    Ok(texts)
}
