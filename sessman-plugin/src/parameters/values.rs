//! The value of a parameter, from its text.

use std::time::Duration;

use sessman::data::Data;
use sessman::id::{Handle, SessionId};
use sessman::rules::UpdateMode;
use sessman::sessions::check_user_id;

use super::Name;
use crate::problem::Problem;

/// The most sessions on a page.
const MAX_PAGE: usize = 1_000;

/// A JSON string.
pub(super) fn string(value: &str, name: Name) -> Result<String, Problem> {
    serde_json::from_str(value).map_err(|_| expected(name.text(), "a string"))
}

/// A JSON number without a part behind the point, as its digits; `42.0` is `42`.
pub(super) fn whole_number(value: &str, name: Name) -> Result<String, Problem> {
    let digits = value.strip_suffix(".0").unwrap_or(value);
    let is_whole = digits.strip_prefix('-').unwrap_or(digits).bytes().all(|byte| byte.is_ascii_digit());
    is_whole.then(|| digits.to_owned()).ok_or_else(|| expected(name.text(), "a string or a whole number"))
}

pub(super) fn user_id(value: String) -> Result<String, Problem> {
    check_user_id(&value)?;
    Ok(value)
}

pub(super) fn seconds(value: &str) -> Result<Duration, Problem> {
    let seconds = whole(value).ok_or_else(|| expected("ttl_seconds", "a whole number of seconds"))?;
    Ok(Duration::from_secs(seconds))
}

pub(super) fn mode(value: &str) -> Result<UpdateMode, Problem> {
    match value {
        "replace" => Ok(UpdateMode::Replace),
        "merge" => Ok(UpdateMode::Merge),
        _ => Err(expected("mode", "replace or merge")),
    }
}

pub(super) fn data(value: &str, name: Name) -> Result<Data, Problem> {
    Data::parse(value).map_err(|error| {
        let problem = Problem::from(sessman::error::Error::from(error));
        problem.about(name.text())
    })
}

pub(super) fn external_id(value: &str) -> Result<SessionId, Problem> {
    SessionId::external(value).ok_or_else(|| {
        let lengths = SessionId::EXTERNAL_LENGTHS;
        let (least, most) = (lengths.start(), lengths.end());
        expected(
            "external_id",
            &format!("{least} to {most} visible ASCII characters, not in the form of our ids"),
        )
    })
}

pub(super) fn handles<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Vec<Handle>, Problem> {
    let handles: Option<Vec<Handle>> = texts.map(Handle::parse).collect();
    handles
        .filter(|handles| handles.len() <= MAX_PAGE)
        .ok_or_else(|| expected("handles", &format!("at most {MAX_PAGE} handles of sessions")))
}

pub(super) fn cursor(value: &str) -> Result<Handle, Problem> {
    Handle::parse(value).ok_or_else(|| expected("cursor", "the `next` of the page before"))
}

pub(super) fn limit(value: &str) -> Result<usize, Problem> {
    let limit = whole(value).and_then(|limit| usize::try_from(limit).ok());
    limit
        .filter(|limit| (1..=MAX_PAGE).contains(limit))
        .ok_or_else(|| expected("limit", &format!("a whole number from 1 to {MAX_PAGE}")))
}

/// A whole number. JSON makes no difference between `60` and `60.0`, and some languages write the latter.
fn whole(value: &str) -> Option<u64> {
    value.parse().ok().or_else(|| value.strip_suffix(".0")?.parse().ok())
}

/// Something that is said by saying yes.
pub(super) fn yes(value: &str, name: Name) -> Result<bool, Problem> {
    match value {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err(expected(name.text(), "yes or no")),
    }
}

fn expected(name: &str, what: &str) -> Problem {
    Problem::malformed(format!("{name}: expected {what}"))
}
