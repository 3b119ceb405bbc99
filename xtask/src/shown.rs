//! docs/security.md says by which test each thing is shown: each of them has to have run, and passed.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};

use crate::workspace::Workspace;

const PAGE: &str = "docs/security.md";
/// It has the keys, whose names look like those of tests.
const KEYS: &str = "docs/schema/sessman.schema.json";

/// Compares the page with the tests that passed in this run; `skipped` are those that could not check what they are for.
///
/// # Errors
/// The tests that are named and did not show what they are for.
pub(crate) fn check(workspace: &Workspace, passed: &BTreeSet<String>, skipped: &str) -> Result<()> {
    let missing = missing(&named(workspace)?, passed, skipped);
    ensure!(missing.is_empty(), "{PAGE} names tests that did not run and pass: {}", missing.join(", "));
    Ok(())
}

/// The tests that the page names.
///
/// # Errors
/// The page, or the schema, cannot be read.
pub(crate) fn named(workspace: &Workspace) -> Result<BTreeSet<String>> {
    let read =
        |file: &str| fs::read_to_string(workspace.root.join(file)).with_context(|| format!("no {file}"));
    Ok(named_by(&read(PAGE)?, &read(KEYS)?))
}

fn named_by(page: &str, keys: &str) -> BTreeSet<String> {
    let is_key = |name: &str| keys.contains(&format!("\"{name}\": {{"));
    let named = page.split('`').skip(1).step_by(2).filter(|word| is_name(word) && !is_key(word));
    named.map(str::to_owned).collect()
}

fn missing(named: &BTreeSet<String>, passed: &BTreeSet<String>, skipped: &str) -> Vec<String> {
    let is_skipped = |name: &str| skipped.lines().any(|line| line.split(':').next() == Some(name));
    named.iter().filter(|name| !passed.contains(*name) || is_skipped(name)).cloned().collect()
}

/// A test's name is a sentence.
fn is_name(word: &str) -> bool {
    let is_plain = |c: u8| c.is_ascii_lowercase() || c == b'_' || c.is_ascii_digit();
    word.matches('_').count() >= 3 && word.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::{missing, named_by};

    #[test]
    fn a_test_that_is_named_has_to_run_pass_and_show_something() {
        let passed = ["it_is_as_it_says", "one_that_was_skipped"].map(str::to_owned).into();
        let page = "| `it_is_as_it_says`, `one_that_was_skipped` | `never_heard_of_it` | `a_key_with_a_sentence` | `short_name` |";
        let named = named_by(page, "{ \"a_key_with_a_sentence\": {} }");
        let missing = missing(&named, &passed, "one_that_was_skipped: no browser\n");
        assert_eq!(missing, ["never_heard_of_it", "one_that_was_skipped"]);
    }
}
