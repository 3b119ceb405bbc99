//! The types of parameters, each with its parser.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use sessman::data::Data;
use sessman::id::{Handle, SessionId};
use sessman::labels::{Label, LabelPatch, MAX_LABELS};
use sessman::rules::UpdateMode;
use sessman::sessions::check_user_id;
use sessman::time::Timestamp;

use super::input::{Input, expected};
use crate::problem::Problem;

/// The most sessions that end by one filter.
pub(super) const MAX_ENDED: u64 = 100_000;

/// Limit of sessions on a page.
pub(super) const MAX_PAGE: usize = 1_000;

pub(super) fn string(input: Input<'_>, name: &str) -> Result<String, Problem> {
    Ok(input.string(name)?.into_owned())
}

/// A text; in JSON also an integer, because databases often number their users.
pub(super) fn user_id(input: Input<'_>, name: &str) -> Result<String, Problem> {
    let value = match input {
        Input::Json(json) if !json.starts_with('"') => integer(json, name)?,
        other => string(other, name)?,
    };
    check_user_id(&value)?;
    Ok(value)
}

pub(super) fn seconds(input: Input<'_>, name: &str) -> Result<Duration, Problem> {
    let seconds = whole(&input.scalar(name)?).ok_or_else(|| expected(name, "a whole number of seconds"))?;
    Ok(Duration::from_secs(seconds))
}

pub(super) fn mode(input: Input<'_>, name: &str) -> Result<UpdateMode, Problem> {
    match &*input.string(name)? {
        "replace" => Ok(UpdateMode::Replace),
        "merge" => Ok(UpdateMode::Merge),
        _ => Err(expected(name, "replace or merge")),
    }
}

pub(super) fn data(input: Input<'_>, name: &str) -> Result<Data, Problem> {
    Data::parse(input.json(name)?).map_err(|error| {
        let problem = Problem::from(sessman::error::Error::from(error));
        problem.about(name)
    })
}

pub(super) fn object(input: Input<'_>, name: &str) -> Result<Data, Problem> {
    let json = input.json(name)?;
    if !json.starts_with('{') {
        return Err(expected(name, "a JSON object"));
    }
    data(Input::Json(json), name)
}

/// An object with a text for each name, or null for a label to remove.
pub(super) fn labels(input: Input<'_>, name: &str) -> Result<LabelPatch, Problem> {
    let members: BTreeMap<String, Option<String>> = serde_json::from_str(input.json(name)?)
        .map_err(|_| expected(name, "a JSON object with a text for each name"))?;
    let mut patch = LabelPatch::default();
    for (label, value) in &members {
        patch.put(label, value.as_deref()).map_err(|error| Problem::malformed(format!("{name}: {error}")))?;
    }
    Ok(patch)
}

/// A label as `name:value`; in JSON also a list of these.
pub(super) fn label(input: Input<'_>, name: &str) -> Result<Vec<Label>, Problem> {
    let texts: Vec<String> = match input {
        Input::Json(json) if json.starts_with('[') => {
            serde_json::from_str(json).map_err(|_| expected(name, "a list of texts name:value"))?
        }
        other => vec![other.string(name)?.into_owned()],
    };
    let label = |text: &String| {
        Label::parse(text).map_err(|error| Problem::malformed(format!("{name}, as name:value: {error}")))
    };
    texts.iter().map(label).collect()
}

/// Adds labels to those that were given before, each once.
pub(super) fn add_labels(labels: &mut Vec<Label>, more: Vec<Label>, name: &str) -> Result<(), Problem> {
    for label in more {
        if !labels.contains(&label) {
            labels.push(label);
        }
        if labels.len() > MAX_LABELS {
            return Err(expected(name, &format!("at most {MAX_LABELS} labels")));
        }
    }
    Ok(())
}

pub(super) fn address(input: Input<'_>, name: &str) -> Result<IpAddr, Problem> {
    input.string(name)?.parse().map_err(|_| expected(name, "an IP address"))
}

/// A time as in RFC 3339, with any offset.
pub(super) fn moment(input: Input<'_>, name: &str) -> Result<Timestamp, Problem> {
    Timestamp::parse(&input.string(name)?)
        .ok_or_else(|| expected(name, "a time as in RFC 3339, such as 2026-01-02T03:04:05Z"))
}

/// Bounded, as those to end are in memory, and their handles in the answer.
pub(super) fn at_most(input: Input<'_>, name: &str) -> Result<u64, Problem> {
    let count = whole(&input.scalar(name)?).filter(|count| *count <= MAX_ENDED);
    count.ok_or_else(|| expected(name, &format!("a whole number up to {MAX_ENDED}")))
}

pub(super) fn external_id(input: Input<'_>, name: &str) -> Result<SessionId, Problem> {
    SessionId::external(&input.string(name)?).ok_or_else(|| {
        let lengths = SessionId::EXTERNAL_LENGTHS;
        let (least, most) = (lengths.start(), lengths.end());
        expected(name, &format!("{least} to {most} visible ASCII characters, not in the form of our ids"))
    })
}

/// `None` if the text is not a well-formed handle.
pub(super) fn handle(input: Input<'_>, name: &str) -> Result<Option<Handle>, Problem> {
    Ok(Handle::parse(&input.string(name)?))
}

/// A list of strings; as text it is separated by commas.
pub(super) fn handles(input: Input<'_>, name: &str) -> Result<Vec<Handle>, Problem> {
    let parse = |texts: &mut dyn Iterator<Item = &str>| texts.map(Handle::parse).collect();
    let handles: Option<Vec<Handle>> = match input {
        Input::Text(text) => parse(&mut text.split(',')),
        Input::Json(json) => {
            let texts: Vec<String> =
                serde_json::from_str(json).map_err(|_| expected(name, "a list of strings"))?;
            parse(&mut texts.iter().map(String::as_str))
        }
    };
    handles
        .filter(|handles| handles.len() <= MAX_PAGE)
        .ok_or_else(|| expected(name, &format!("at most {MAX_PAGE} handles of sessions")))
}

pub(super) fn cursor(input: Input<'_>, name: &str) -> Result<Handle, Problem> {
    Handle::parse(&input.string(name)?).ok_or_else(|| expected(name, "the `next` of the page before"))
}

pub(super) fn limit(input: Input<'_>, name: &str) -> Result<usize, Problem> {
    let limit = whole(&input.scalar(name)?).and_then(|limit| usize::try_from(limit).ok());
    limit
        .filter(|limit| (1..=MAX_PAGE).contains(limit))
        .ok_or_else(|| expected(name, &format!("a whole number from 1 to {MAX_PAGE}")))
}

/// A boolean, written as `yes` or `true`, `no` or `false`.
pub(super) fn yes(input: Input<'_>, name: &str) -> Result<bool, Problem> {
    match &*input.scalar(name)? {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err(expected(name, "yes or no")),
    }
}

/// Parses a whole number of 63 bits, as it is described. JSON makes no difference between `60` and `60.0`, and some languages
/// write the latter.
fn whole(value: &str) -> Option<u64> {
    let number: u64 = value.strip_suffix(".0").unwrap_or(value).parse().ok()?;
    i64::try_from(number).is_ok().then_some(number)
}

/// A JSON number that is an integer in its plain spelling, as its text. `42.0`, `4.2e1` and `-0` are rejected: the same number in
/// another spelling would be another user.
fn integer(value: &str, name: &str) -> Result<String, Problem> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && value != "-0";
    is_plain.then(|| value.to_owned()).ok_or_else(|| {
        expected(
            name,
            "a string, or an integer without fraction and exponent (send any other number as a string)",
        )
    })
}
