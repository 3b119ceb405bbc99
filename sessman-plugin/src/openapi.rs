//! OpenAPI 3.1, made from the table of routes and the names of parameters.

use std::time::Duration;

use plugin_api::Class;
use serde_json::{Map, Value, json};

use crate::parameters::{self, Name};
use crate::routes::{ROUTES, Returns, Spec};

/// Statuses of the host and of the store, which any route may answer with.
const ALWAYS: &[u16] = &[400, 413, 415, 429, 500, 503, 504];
/// How `If-Match` and `If-None-Match` look (RFC 9110).
const ENTITY_TAGS: &str = r#"^(\*|(W/)?"[!#-~]*"(, ?(W/)?"[!#-~]*")*)$"#;
/// How a handle looks.
const HANDLE: &str = "^[A-Za-z0-9_-]{16}$";

/// What of an instance's configuration its description depends on.
pub(crate) struct Instance<'a> {
    /// The name of the session cookie, if there is one.
    pub(crate) cookie: Option<&'a str>,
    pub(crate) max_ttl: Duration,
    /// Where the routes are.
    pub(crate) mount: &'a str,
}

/// The description of all routes.
pub(crate) fn document(instance: &Instance<'_>) -> Value {
    let &Instance { cookie, mount, .. } = instance;
    let mut paths = Map::new();
    // A path that goes on as somebody else likes cannot be described.
    for spec in ROUTES.iter().filter(|spec| !spec.route.path.ends_with('*')) {
        let mut item = Map::new();
        // Any other method is answered like those.
        for method in spec.route.methods.iter().filter(|method| **method != "*") {
            item.insert(method.to_lowercase(), operation(spec, method, instance));
        }
        paths.insert(format!("/{}", spec.route.path), Value::Object(item));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "sessman",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Keeps sessions: create, read, update, expire.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": if mount.is_empty() { "/" } else { mount } }],
        "paths": paths,
        "components": {
            "securitySchemes": security_schemes(cookie),
            "schemas": schemas(),
            "responses": responses(),
        },
    })
}

fn operation(spec: &Spec, method: &str, instance: &Instance<'_>) -> Value {
    let accepted = parameters::accepted(spec.accepts, method);
    let has_body = matches!(method, "POST" | "PATCH");
    let mut parameters: Vec<Value> = Vec::new();
    if !has_body || method == "PATCH" {
        parameters.extend(accepted.iter().map(|name| in_query(*name, instance)));
    }
    parameters.extend(headers(spec, method));
    let mut operation = json!({
        "operationId": format!("{}-{}", method.to_lowercase(), spec.route.path.replace(['/', '.'], "-")),
        "summary": spec.summary,
        "tags": [tag(spec.route.class)],
        "parameters": parameters,
        "responses": answers(spec),
    });
    if method == "PATCH" {
        operation["requestBody"] = json!({
            "description": "A JSON Merge Patch (RFC 7396) of the session's data, whatever the Content-Type says.",
            "required": true,
            "content": { "application/merge-patch+json": { "schema": data() } },
        });
    } else if has_body {
        operation["requestBody"] = json!({
            "description": "Read whatever the Content-Type says. Each of these may stand in the query instead, but for \
                            data and metadata.",
            "required": spec.accepts.iter().any(|name| is_required(spec, *name)),
            "content": { "application/json": { "schema": body(spec, &accepted, instance) } },
        });
    }
    let security = security(spec, instance.cookie);
    if !security.is_empty() {
        operation["security"] = Value::Array(security);
    }
    operation
}

/// Without it the request is malformed.
fn is_required(spec: &Spec, name: Name) -> bool {
    match name {
        Name::Data => spec.route.path == "update",
        Name::UserId => spec.route.path == "end-user",
        Name::Handles | Name::Confirm => true,
        _ => false,
    }
}

fn body(spec: &Spec, accepted: &[Name], instance: &Instance<'_>) -> Value {
    // `null` is as good as nothing, where nothing is good enough.
    let shown = |name: Name| {
        let mut kinds = vec![schema(name, instance)];
        if name == Name::UserId {
            kinds.push(json!({ "type": "integer", "description": "Taken as its digits." }));
        }
        if !is_required(spec, name) && !matches!(name, Name::Data | Name::Handle | Name::Others) {
            kinds.push(json!({ "type": "null" }));
        }
        if kinds.len() == 1 { kinds.remove(0) } else { json!({ "anyOf": kinds }) }
    };
    let properties: Map<String, Value> =
        accepted.iter().map(|name| (name.text().to_owned(), shown(*name))).collect();
    let required: Vec<&str> =
        accepted.iter().filter(|name| is_required(spec, **name)).map(|name| name.text()).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if spec.route.path == "mine/end" {
        schema["oneOf"] = json!([{ "required": ["handle"] }, { "required": ["others"] }]);
    }
    schema
}

fn in_query(name: Name, instance: &Instance<'_>) -> Value {
    json!({ "name": name.text(), "in": "query", "schema": schema(name, instance) })
}

/// The request headers that mean something to the route.
fn headers(spec: &Spec, method: &str) -> Vec<Value> {
    let header = |name: &str, description: &str| -> Value {
        let schema = json!({ "type": "string", "pattern": ENTITY_TAGS });
        json!({ "name": name, "in": "header", "description": description, "schema": schema })
    };
    let mut headers = Vec::new();
    match (spec.route.path, method) {
        ("get" | "profile", _) => {
            headers.push(header("If-None-Match", "Entity tags; 304 if one of them is the session's."));
        }
        ("update", _) => {
            headers.push(header(
                "If-Match",
                "Entity tags; 412 unless the version of one of them is the session's.",
            ));
        }
        _ => {}
    }
    headers
}

fn schema(name: Name, instance: &Instance<'_>) -> Value {
    match name {
        Name::SessionId => json!({
            "type": "string",
            "description": "The session's id; `sessionid` and `token` are other names for it, and it may come as X-Session-Id.",
        }),
        Name::UserId => json!({
            "type": "string",
            "minLength": 1,
            "maxLength": 256,
            "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]+$",
            "description": "Whose session it is; `userid`, `user` and `username` are other names for it.",
        }),
        Name::Data => data(),
        Name::Metadata => json!({ "type": "object", "description": "What is known of the client." }),
        Name::TtlSeconds => json!({ "type": "integer", "minimum": 1, "maximum": instance.max_ttl.as_secs() }),
        Name::Mode => json!({ "enum": ["replace", "merge"], "description": "`merge` is RFC 7396." }),
        Name::ExternalId => json!({
            "type": "string",
            "minLength": 22,
            "maxLength": 256,
            "pattern": "^[!-~]+$",
            "description": "An id that the caller chose; it carries 128 random bits, and is not of the form of ours.",
        }),
        Name::Handle => json!({ "type": "string", "description": "A session's public name." }),
        Name::Handles => {
            json!({ "type": "array", "maxItems": 1000, "items": { "type": "string", "pattern": HANDLE } })
        }
        Name::Others => {
            json!({ "enum": [true, "true", "yes"], "description": "All but the session that asks." })
        }
        Name::Cursor => {
            json!({ "type": "string", "pattern": HANDLE, "description": "`next` of the page before." })
        }
        Name::Limit => json!({ "type": "integer", "minimum": 1, "maximum": 1000, "default": 100 }),
        Name::Confirm => json!({ "enum": [true, "true", "yes"] }),
    }
}

fn data() -> Value {
    json!({ "description": "Any JSON that every store can hold: integers of 64 bits, at most 99 levels, no NUL in keys." })
}

fn tag(class: Class) -> &'static str {
    match class {
        Class::Public => "public",
        Class::Service => "service",
        Class::Session => "session",
        Class::Admin => "admin",
        Class::ForwardAuth => "forward-auth",
    }
}

fn security(spec: &Spec, cookie: Option<&str>) -> Vec<Value> {
    let by_cookie = cookie.map(|_| json!({ "sessionCookie": [] }));
    let keys = [json!({ "bearer": [] }), json!({ "customAuth": [] })];
    match spec.route.class {
        Class::Public => Vec::new(),
        Class::Service => keys.to_vec(),
        // The header is another place for the parameter `session_id`.
        Class::Session => keys.into_iter().chain(by_cookie).collect(),
        Class::Admin => vec![json!({ "adminKey": [] })],
        Class::ForwardAuth => [json!({ "sessionId": [] })].into_iter().chain(by_cookie).collect(),
    }
}

fn security_schemes(cookie: Option<&str>) -> Value {
    let header = |name: &str, description: &str| json!({ "type": "apiKey", "in": "header", "name": name, "description": description });
    let mut schemes = json!({
        "bearer": { "type": "http", "scheme": "bearer", "description": "The instance's API key, where it has one." },
        "customAuth": header("X-Custom-Auth", "The same key."),
        "adminKey": header("X-Admin-Key", "The `admin_key`."),
        "sessionId": header("X-Session-Id", "A live session's id, as far as `client_access` allows."),
    });
    if let Some(name) = cookie {
        schemes["sessionCookie"] = json!({ "type": "apiKey", "in": "cookie", "name": name });
    }
    schemes
}

/// Every status that the route may answer with.
fn answers(spec: &Spec) -> Value {
    let mut answers = Map::new();
    let (status, answer) = success(spec.returns);
    answers.insert(status.to_owned(), answer);
    if matches!(spec.route.path, "get" | "profile") {
        answers.insert(
            "304".to_owned(),
            json!({ "description": "An entity tag of If-None-Match is the session's." }),
        );
    }
    let of_class: &[u16] = match spec.route.class {
        Class::Public => &[],
        Class::Service | Class::Session | Class::ForwardAuth | Class::Admin => &[401, 403],
    };
    for status in [spec.refusals, of_class, ALWAYS].into_iter().flatten() {
        answers
            .entry(status.to_string())
            .or_insert_with(|| json!({ "$ref": format!("#/components/responses/{status}") }));
    }
    Value::Object(answers)
}

fn success(returns: Returns) -> (&'static str, Value) {
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

fn count() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn schemas() -> Value {
    let time = || json!({ "type": "string", "format": "date-time" });
    let handle = || json!({ "type": "string", "pattern": HANDLE });
    let nullable = |schema: Value| json!({ "anyOf": [schema, { "type": "null" }] });
    let listed = json!({
        "handle": handle(),
        "user_id": { "type": ["string", "null"] },
        "auth_time": nullable(time()),
        "metadata": { "type": "object" },
        "created_at": time(),
        "updated_at": time(),
        "last_activity": time(),
        "expires_at": time(),
        "version": { "type": "integer", "minimum": 1 },
    });
    let names: Vec<String> =
        listed.as_object().map(|listed| listed.keys().cloned().collect()).unwrap_or_default();
    let mut whole = listed.clone();
    whole["session_id"] = json!({ "type": "string", "description": "Only for who sent it, or just got it." });
    whole["data"] = data();
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
            "properties": { "ended": { "const": true }, "handle": handle() },
            "required": ["ended", "handle"],
        },
        "Ended": {
            "type": "object",
            "properties": { "ended": count(), "handles": { "type": "array", "items": handle() } },
            "required": ["ended", "handles"],
        },
        "Stats": {
            "type": "object",
            "properties": {
                "total": count(),
                "active": count(),
                "expired": count(),
                "by_age": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": { "below_seconds": { "type": ["integer", "null"] }, "sessions": count() },
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
                "type": { "type": "string" },
                "title": { "type": "string" },
                "status": { "type": "integer" },
                "detail": { "type": "string" },
                "error": { "type": "string" },
            },
            "required": ["status", "detail", "error"],
        },
    })
}

/// The problems, by status.
fn responses() -> Value {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(cookie: Option<&str>) -> Instance<'_> {
        Instance { cookie, max_ttl: Duration::from_secs(60), mount: "/sessman" }
    }

    #[test]
    fn every_route_and_every_reference_is_in_it() {
        let document = document(&instance(Some("PS_SESSID")));
        for spec in ROUTES.iter().filter(|spec| !spec.route.path.ends_with('*')) {
            for method in spec.route.methods.iter().filter(|method| **method != "*") {
                let operation = &document["paths"][format!("/{}", spec.route.path)][method.to_lowercase()];
                assert!(operation["summary"].is_string(), "{} {method}", spec.route.path);
            }
        }
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let document = document(&instance(None));
        let paths = document["paths"].as_object().unwrap().values();
        let mut names: Vec<&str> = paths
            .flat_map(|item| item.as_object().unwrap().values())
            .map(|operation| operation["operationId"].as_str().unwrap())
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
