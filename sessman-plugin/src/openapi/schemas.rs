//! The schemas of answers.

use serde_json::{Value, json};

use crate::parameters::{Bounds, HANDLE, Name};
use crate::problem_type::ProblemType;

/// The schema of a count.
pub(super) fn count() -> Value {
    json!({ "type": "integer", "format": "int64", "minimum": 0 })
}

/// The components that answers refer to.
pub(super) fn schemas(bounds: Bounds) -> Value {
    let types: Vec<&str> = ProblemType::ALL.iter().map(|kind| kind.uri()).collect();
    let types = format!("What it is, for programs: {}; and those of the host.", types.join(", "));
    let time = || json!({ "type": "string", "format": "date-time" });
    let handle = || json!({ "type": "string", "pattern": HANDLE });
    let nullable = |mut schema: Value| {
        schema["type"] = json!(["string", "null"]);
        schema
    };
    let listed = json!({
        "handle": handle(),
        "user_id": { "type": ["string", "null"] },
        "auth_time": nullable(time()),
        "metadata": { "type": "object" },
        "labels": { "type": "object", "additionalProperties": { "type": "string" } },
        "persistent": { "type": "boolean", "description": "Whether its cookie outlives the browser." },
        "created_at": time(),
        "updated_at": time(),
        "last_activity": time(),
        "expires_at": time(),
        "version": { "type": "integer", "format": "int64", "minimum": 1 },
    });
    let names: Vec<String> =
        listed.as_object().map(|listed| listed.keys().cloned().collect()).unwrap_or_default();
    let mut whole = listed.clone();
    whole["session_id"] = json!({ "type": "string", "description": "Only for who sent it, or just got it." });
    whole["data"] = Name::Data.schema(bounds);
    let mut in_list = listed;
    in_list["current"] =
        json!({ "type": "boolean", "description": "In `mine`: whether it is the one that asks." });
    let with_data: Vec<String> = names.iter().cloned().chain(["data".to_owned()]).collect();
    json!({
        "Session": { "type": "object", "properties": whole, "required": with_data },
        "ListedSession": { "type": "object", "properties": in_list, "required": names },
        "Page": {
            "type": "object",
            "properties": {
                "sessions": { "type": "array", "items": { "$ref": "#/components/schemas/ListedSession" } },
                "next": nullable(handle()),
            },
            "required": ["sessions", "next"],
        },
        "Validity": {
            "type": "object",
            "properties": {
                "valid": { "type": "boolean" },
                "handle": handle(),
                "user_id": { "type": ["string", "null"] },
                "expires_at": time(),
            },
            "required": ["valid"],
        },
        "End": {
            "type": "object",
            "properties": { "ended": { "type": "boolean", "const": true }, "handle": handle() },
            "required": ["ended", "handle"],
        },
        "Ended": {
            "type": "object",
            "properties": { "ended": count(), "handles": { "type": "array", "items": handle() } },
            "required": ["ended", "handles"],
        },
        "EndedOrPreview": {
            "type": "object",
            "properties": {
                "ended": count(),
                "handles": { "type": "array", "items": handle() },
                "matching": count(),
                "complete": { "type": "boolean", "description": "False if there are more than could be counted." },
                "cutoff": time(),
                "sessions": { "type": "array", "items": { "$ref": "#/components/schemas/ListedSession" } },
            },
        },
        "Stats": {
            "type": "object",
            "properties": {
                "complete": { "type": "boolean", "description": "False if a filter matches more than could be counted." },
                "total": count(),
                "active": count(),
                "expired": count(),
                "by_age": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": { "below_seconds": { "type": ["integer", "null"], "format": "int64" }, "sessions": count() },
                        "required": ["below_seconds", "sessions"],
                    },
                },
            },
            "required": ["total", "active", "expired", "by_age"],
        },
        "Problem": {
            "type": "object",
            "description": "RFC 9457; `error` is the same line as `detail`.",
            "properties": {
                "type": { "type": "string", "description": types },
                "title": { "type": "string" },
                "status": { "type": "integer" },
                "detail": { "type": "string" },
                "error": { "type": "string" },
            },
            "required": ["status", "detail", "error"],
        },
    })
}
