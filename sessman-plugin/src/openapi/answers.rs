//! Successful answers of the routes.

use serde_json::{Value, json};

use super::schemas::count;
use crate::routes::Returns;

/// The status, and the description of the answer.
pub(super) fn success(returns: Returns) -> (&'static str, Value) {
    let shown = |description: &str, schema: Value| json!({ "description": description, "content": { "application/json": { "schema": schema } } });
    let named = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let counted =
        |name: &str| json!({ "type": "object", "properties": { name: count() }, "required": [name] });
    let session = |description: &str| {
        let mut answer = shown(description, named("Session"));
        answer["headers"] = json!({ "ETag": { "schema": { "type": "string" } } });
        answer
    };
    match returns {
        Returns::Session => ("200", session("The session.")),
        Returns::NewSession => ("201", session("The new session.")),
        Returns::Validity => {
            ("200", shown("Whether it lives, and whose it is if it does.", named("Validity")))
        }
        Returns::End => ("200", shown("It has ended.", named("End"))),
        Returns::Principal => (
            "200",
            json!({
                "description": "The request carries a live session of a user.",
                "headers": {
                    "X-Session-User": { "description": "Percent-encoded.", "schema": { "type": "string" } },
                    "X-Session-Handle": { "schema": { "type": "string" } },
                    "X-Session-Signature": { "description": "With `verify_key`: `t=`, seconds of Unix time, `,v1=` and the HMAC-SHA-256 of `time:user:handle` in hexadecimal digits.", "schema": { "type": "string" } },
                },
            }),
        ),
        Returns::Page => ("200", shown("Sessions without their data.", named("Page"))),
        Returns::Ended => ("200", shown("The sessions that ended.", named("Ended"))),
        Returns::EndedOrPreview => (
            "200",
            shown("The sessions that ended, or with dry_run that would end.", named("EndedOrPreview")),
        ),
        Returns::Stats => ("200", shown("How many there are.", named("Stats"))),
        Returns::Purged => ("200", shown("How many records were removed.", counted("purged"))),
        Returns::Cleared => ("200", shown("How many records were removed.", counted("cleared"))),
        Returns::Events => (
            "200",
            json!({
                "description": "created, updated, rotated, ended, expired, evicted and cleared, each with handle, user_id and at.",
                "content": { "text/event-stream": { "schema": { "type": "string" } } },
            }),
        ),
        Returns::OpenApi => ("200", shown("OpenAPI 3.1.", json!({ "type": "object" }))),
    }
}
