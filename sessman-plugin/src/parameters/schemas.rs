//! The OpenAPI schema of each parameter.

use std::time::Duration;

use serde_json::{Value, json};
use sessman::id::SessionId;
use sessman::labels::{MAX_LABELS, MAX_VALUE};
use sessman::rules::{OnMaxTtl, Rules};
use sessman::sessions::{MAX_IDLE, MAX_USER_ID};

use super::values::{MAX_ENDED, MAX_PAGE};

/// Pattern of a handle.
pub(crate) const HANDLE: &str = "^[A-Za-z0-9_-]{16}$";
/// Pattern of a label's value.
const LABEL: &str = "^[^\\s\\u0000-\\u001f\\u007f-\\u009f]([^\\u0000-\\u001f\\u007f-\\u009f]*[^\\s\\u0000-\\u001f\\u007f-\\u009f])?$";
/// Pattern of a label as `name:value`.
const NAMED_LABEL: &str = "^[a-z][a-z0-9_]{0,31}:[^\\s\\u0000-\\u001f\\u007f-\\u009f]([^\\u0000-\\u001f\\u007f-\\u009f]{0,126}[^\\s\\u0000-\\u001f\\u007f-\\u009f])?$";
/// Default number of sessions on a page.
pub(crate) const PAGE: usize = 100;

/// The parts of an instance's configuration that the schema of a parameter depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) max_ttl: Duration,
    /// The largest `idle_seconds`; `None` for any, and for 0 (none).
    pub(crate) max_idle: Option<Duration>,
    /// Whether a `ttl_seconds` beyond `max_ttl` is cut, and not refused.
    pub(crate) cuts_ttl: bool,
}

impl Bounds {
    pub(crate) fn of(rules: &Rules) -> Self {
        Self {
            max_ttl: rules.max_ttl,
            max_idle: rules.longest_idle(),
            cuts_ttl: rules.on_max_ttl == OnMaxTtl::Cut,
        }
    }
}

pub(super) fn session_id(_: Bounds) -> Value {
    json!({ "type": "string" })
}

pub(super) fn user_id(_: Bounds) -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_USER_ID,
        "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]+$",
        "description": "Whose session it is; `userid`, `user` and `username` are other names for it. In JSON an integer \
                        such as 42 is taken as the text \"42\"; 42.0, 4.2e1 and -0 are refused, as each would be another user.",
    })
}

pub(super) fn data(_: Bounds) -> Value {
    json!({ "description": "Any JSON that every store can hold: integers of 64 bits, at most 99 levels, no NUL in keys." })
}

pub(super) fn metadata(_: Bounds) -> Value {
    json!({ "type": "object", "description": "What is known of the client." })
}

pub(super) fn ttl_seconds(bounds: Bounds) -> Value {
    let mut schema = json!({ "type": "integer", "format": "int64", "minimum": 1 });
    if !bounds.cuts_ttl {
        schema["maximum"] = json!(bounds.max_ttl.as_secs());
    }
    schema
}

pub(super) fn idle_seconds(bounds: Bounds) -> Value {
    let mut schema = json!({
        "type": "integer",
        "format": "int64",
        "minimum": 0,
        "maximum": MAX_IDLE.as_secs(),
        "description": "Its own idle timeout; 0 for none, where there is no `max_idle`.",
    });
    if let Some(max_idle) = bounds.max_idle {
        schema["minimum"] = json!(1);
        schema["maximum"] = json!(max_idle.as_secs());
    }
    schema
}

pub(super) fn persistent(_: Bounds) -> Value {
    json!({ "type": "boolean", "description": "Whether its cookie outlives the browser (remember me)." })
}

pub(super) fn labels(_: Bounds) -> Value {
    json!({
        "type": "object",
        "maxProperties": 2 * MAX_LABELS,
        "propertyNames": { "pattern": "^[a-z][a-z0-9_]{0,31}$" },
        "additionalProperties": { "type": ["string", "null"], "minLength": 1, "maxLength": MAX_VALUE, "pattern": LABEL },
        "description": "By which it is found beside its user, at most 8; null removes one. They are not encrypted.",
    })
}

pub(super) fn mode(_: Bounds) -> Value {
    json!({ "type": "string", "enum": ["replace", "merge"], "description": "`merge` is RFC 7396." })
}

pub(super) fn external_id(_: Bounds) -> Value {
    let lengths = SessionId::EXTERNAL_LENGTHS;
    json!({
        "type": "string",
        "minLength": lengths.start(),
        "maxLength": lengths.end(),
        "pattern": "^[!-~]+$",
        "description": "An id that the caller chose; it carries 128 random bits, and is not of the form of ours.",
    })
}

pub(super) fn handle(_: Bounds) -> Value {
    json!({ "type": "string", "description": "A session's public name." })
}

pub(super) fn handles(_: Bounds) -> Value {
    json!({ "type": "array", "maxItems": MAX_PAGE, "items": { "type": "string", "pattern": HANDLE } })
}

pub(super) fn others(_: Bounds) -> Value {
    json!({ "type": "boolean", "enum": [true], "description": "All but the session that asks." })
}

pub(super) fn cursor(_: Bounds) -> Value {
    json!({ "type": "string", "pattern": HANDLE, "description": "`next` of the page before." })
}

pub(super) fn limit(_: Bounds) -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": PAGE })
}

pub(super) fn label(_: Bounds) -> Value {
    json!({
        "type": "string",
        "pattern": NAMED_LABEL,
        "description": "Only sessions with this label, as name:value; given several times, with all of them. In JSON also a list.",
    })
}

pub(super) fn address(_: Bounds) -> Value {
    json!({ "type": "string", "description": "Only sessions whose metadata.client_ip is this address." })
}

pub(super) fn moment(_: Bounds) -> Value {
    json!({ "type": "string", "format": "date-time" })
}

pub(super) fn dry_run(_: Bounds) -> Value {
    json!({ "type": "boolean", "description": "Ends nothing; answers how many sessions match, the first ones, and a cutoff." })
}

pub(super) fn cutoff(_: Bounds) -> Value {
    json!({ "type": "string", "format": "date-time", "description": "The one that dry_run answered: sessions created later stay." })
}

pub(super) fn at_most(_: Bounds) -> Value {
    json!({ "type": "integer", "format": "int64", "minimum": 0, "maximum": MAX_ENDED, "description": "If more sessions match, none is ended." })
}

pub(super) fn confirm(_: Bounds) -> Value {
    json!({ "type": "boolean", "enum": [true], "description": "That it is meant." })
}
