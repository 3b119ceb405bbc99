//! Rejects invisible characters: every string of `sessman.json` is checked, whatever its key.

use serde_json::{Map, Value};
use settings::Problem;
use settings::text::{flaw, unseen};

use super::values::problem;

/// The keys with invisible characters.
pub(super) fn check(members: &Map<String, Value>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (key, value) in members {
        check_value(key, value, &mut problems);
    }
    problems
}

/// Checks one string that is used for a key, whatever its source.
pub(super) fn check_text(key: &str, text: &str) -> Option<Problem> {
    // A password may begin or end with a blank.
    let found = if key == "password" { unseen(text) } else { flaw(text) };
    found.map(|flaw| problem(key, flaw))
}

fn check_value(key: &str, value: &Value, problems: &mut Vec<Problem>) {
    match value {
        Value::String(text) => problems.extend(check_text(key, text)),
        Value::Array(items) => items.iter().for_each(|item| check_value(key, item, problems)),
        Value::Object(members) => {
            for (inner, value) in members {
                check_value(&format!("{key}.{inner}"), value, problems);
            }
        }
        _ => {}
    }
}
