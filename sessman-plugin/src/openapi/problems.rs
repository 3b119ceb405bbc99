//! Problem answers, by status.

use serde_json::{Map, Value, json};

/// The components that problem answers refer to.
pub(super) fn responses() -> Value {
    let described = [
        (400, "Malformed, or an unknown parameter."),
        (401, "No key, or no session, where one is needed."),
        (403, "A page of another origin, or a route that is closed."),
        (404, "No such live session: unknown, malformed, ended, expired and another user's look the same."),
        (409, "It does not go together with what is there."),
        (412, "If-Match names another version."),
        (413, "Too large."),
        (415, "Content-Encoding is not supported."),
        (422, "JSON that not every store can hold."),
        (428, "If-Match is missing."),
        (429, "Too many; see Retry-After."),
        (500, "The session store cannot be used, or the plugin failed."),
        (503, "The session store is away or full, or the host is busy; see Retry-After."),
        (504, "No answer in time."),
    ];
    let responses: Map<String, Value> = described
        .into_iter()
        .map(|(status, description)| {
            let problem = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
            let mut response =
                json!({ "description": description, "content": { "application/problem+json": problem } });
            if matches!(status, 429 | 503) {
                response["headers"] = json!({ "Retry-After": { "schema": { "type": "integer" } } });
            }
            (status.to_string(), response)
        })
        .collect();
    Value::Object(responses)
}
