//! The OpenAPI schema of each parameter.

use std::time::Duration;

use serde_json::{Value, json};
use sessman::id::SessionId;
use sessman::sessions::MAX_USER_ID;

use super::values::MAX_PAGE;

/// Pattern of a handle.
pub(crate) const HANDLE: &str = "^[A-Za-z0-9_-]{16}$";
/// Default number of sessions on a page.
pub(crate) const PAGE: usize = 100;

/// The parts of an instance's configuration that the schema of a parameter depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) max_ttl: Duration,
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
        "description": "Whose session it is; `userid`, `user` and `username` are other names for it. In JSON a whole number \
                        is taken as its digits.",
    })
}

pub(super) fn data(_: Bounds) -> Value {
    json!({ "description": "Any JSON that every store can hold: integers of 64 bits, at most 99 levels, no NUL in keys." })
}

pub(super) fn metadata(_: Bounds) -> Value {
    json!({ "type": "object", "description": "What is known of the client." })
}

pub(super) fn ttl_seconds(bounds: Bounds) -> Value {
    json!({ "type": "integer", "format": "int64", "minimum": 1, "maximum": bounds.max_ttl.as_secs() })
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

pub(super) fn confirm(_: Bounds) -> Value {
    json!({ "type": "boolean", "enum": [true], "description": "That it is meant." })
}
