//! Checks of values, and their error messages.

use std::ops::RangeInclusive;
use std::time::Duration;

use settings::Problem;

/// A hundred years: later dates do not fit every store.
pub(super) const MAX_SECONDS: u64 = 100 * 365 * 86_400;

/// A problem with a key.
pub(crate) fn problem(key: &str, message: &str) -> Problem {
    Problem { key: key.to_owned(), message: message.to_owned() }
}

/// A number of seconds, not zero.
pub(super) fn seconds(key: &str, value: Option<u64>, problems: &mut Vec<Problem>) -> Option<Duration> {
    number(key, value, 1..=MAX_SECONDS, "seconds", problems).map(Duration::from_secs)
}

/// A number within bounds; the lower bound in place of an invalid one.
pub(super) fn number(
    key: &str,
    value: Option<u64>,
    bounds: RangeInclusive<u64>,
    unit: &str,
    problems: &mut Vec<Problem>,
) -> Option<u64> {
    let value = value?;
    if bounds.contains(&value) {
        return Some(value);
    }
    problems.push(problem(key, &format!("expected {} to {} {unit}", bounds.start(), bounds.end())));
    Some(*bounds.start())
}

/// One of several words; the first if none is given.
pub(crate) fn choice<T: Copy>(
    key: &str,
    text: Option<&str>,
    words: &[(&str, T)],
    problems: &mut Vec<Problem>,
) -> T {
    let found = text.map_or(Some(words[0].1), |text| {
        words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning)
    });
    found.unwrap_or_else(|| {
        let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        problems.push(problem(key, &format!("expected {}", alternatives(&all))));
        words[0].1
    })
}

/// The words as a list: `a, b or c`.
pub(crate) fn alternatives(words: &[&str]) -> String {
    match words.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => words.concat(),
    }
}
