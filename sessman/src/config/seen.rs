//! Nothing in `sessman.json` is hidden: every text of it, whatever its key, is looked at here.

use serde_json::{Map, Value};
use settings::Problem;
use settings::text::{flaw, unseen};

use super::values::problem;

/// What is hidden in which key.
pub(super) fn check(members: &Map<String, Value>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (key, value) in members {
        check_value(key, value, &mut problems);
    }
    problems
}

/// A text that stands for a key, from wherever it comes.
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
