//! Warns about values of the file that are valid, but probably not what was intended.

use super::problem::Problem;
use super::raw::{RawConfig, RawEntry, RawSection};
use super::sections::SECTIONS;

/// The warnings, one per value.
pub(super) fn warnings(raw: &RawConfig) -> Vec<Problem> {
    let entries =
        raw.sections.iter().flat_map(|section| section.entries.iter().map(move |entry| (section, entry)));
    entries.filter_map(|(section, entry)| warning(section, entry)).collect()
}

fn warning(section: &RawSection, entry: &RawEntry) -> Option<Problem> {
    let message = |what: String| {
        if !SECTIONS.contains(&section.name.as_str()) {
            return what.trim_end_matches('.').to_owned();
        }
        let variable = format!("PSERVE_{}_{}", section.name, entry.key).to_uppercase();
        format!("{what} If it is meant so, the environment variable {variable} takes it without this warning")
    };
    let what = comment(entry).or_else(|| quotes(entry))?;
    Some(Problem::with_key(&entry.place, &section.name, &entry.key, message(what)))
}

/// Finds what looks like a comment behind a value. Values from the environment are not checked.
pub(super) fn comment(entry: &RawEntry) -> Option<String> {
    let mark = (!entry.literal).then(|| entry.text.lines().find_map(mark)).flatten()?;
    Some(format!(
        "the value goes to the end of its line: ` {mark}` and what is behind it are a part of it. A comment stands on a line of \
         its own."
    ))
}

/// A comment character behind white space.
fn mark(line: &str) -> Option<&str> {
    let mut marks = line.match_indices(['#', ';']);
    marks.find(|(at, _)| line[..*at].ends_with(char::is_whitespace)).map(|(_, mark)| mark)
}

fn quotes(entry: &RawEntry) -> Option<String> {
    let text = entry.text.as_str();
    let is_quoted =
        ['"', '\''].iter().any(|quote| text.len() > 1 && text.starts_with(*quote) && text.ends_with(*quote));
    (is_quoted && !entry.literal)
        .then(|| "the value is in quotes, which are a part of it; write it without.".to_owned())
}
