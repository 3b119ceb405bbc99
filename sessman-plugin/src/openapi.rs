//! The OpenAPI 3.1 description, generated from the table of routes and the table of parameters.

mod answers;
mod problems;
mod schemas;

use plugin_api::Class;
use serde_json::{Map, Value, json};

use crate::parameters::{self, Bounds, Name};
use crate::routes::{Condition, Spec};

/// Statuses of the host and of the store, which every route may return.
const ALWAYS: &[u16] = &[400, 413, 415, 429, 500, 503, 504];
/// Pattern of `If-Match` and `If-None-Match` (RFC 9110).
const ENTITY_TAGS: &str = r#"^(\*|(W/)?"[!#-~]*"(, ?(W/)?"[!#-~]*")*)$"#;
/// The parts of an instance's configuration that its description depends on.
pub(crate) struct Instance<'a> {
    /// The name of the session cookie, if there is one.
    pub(crate) cookie: Option<&'a str>,
    pub(crate) bounds: Bounds,
    /// The path of the mount.
    pub(crate) mount: &'a str,
}

/// Describes these routes.
pub(crate) fn document(routes: &[Spec], instance: &Instance<'_>) -> Value {
    let &Instance { cookie, mount, .. } = instance;
    let mut paths = Map::new();
    // A path with an arbitrary rest cannot be described.
    for spec in routes.iter().filter(|spec| !spec.route.path.ends_with('*')) {
        let mut item = Map::new();
        // `*` has no operation name: any other method is answered like those.
        for (method, name) in spec.route.methods.iter().zip(spec.operations) {
            item.insert(method.to_lowercase(), operation(spec, method, name, instance));
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
            "schemas": schemas::schemas(instance.bounds),
            "responses": problems::responses(),
        },
    })
}

fn operation(spec: &Spec, method: &str, name: &str, instance: &Instance<'_>) -> Value {
    // Only one place for the id is described: two different values would be rejected.
    let accepted: Vec<Name> = parameters::accepted(spec.accepts, method)
        .iter()
        .copied()
        .filter(|name| *name != Name::SessionId)
        .collect();
    let has_body = matches!(method, "POST" | "PATCH");
    let mut parameters: Vec<Value> = Vec::new();
    if !has_body || method == "PATCH" {
        parameters.extend(accepted.iter().map(|name| in_query(*name, instance)));
    }
    parameters.extend(headers(spec, instance));
    let mut operation = json!({
        "operationId": name,
        "summary": spec.summary,
        "tags": [tag(spec.route.class)],
        "parameters": parameters,
        "responses": answers(spec),
    });
    if method == "PATCH" {
        operation["requestBody"] = json!({
            "description": "A JSON Merge Patch (RFC 7396) of the session's data, whatever the Content-Type says.",
            "required": true,
            "content": { "application/merge-patch+json": { "schema": Name::Data.schema(instance.bounds) } },
        });
    } else if has_body {
        operation["requestBody"] = json!({
            "description": "Read whatever the Content-Type says. Each of these may stand in the query instead, but for \
                            data, metadata and labels.",
            "required": !spec.requires.is_empty(),
            "content": { "application/json": { "schema": body(spec, &accepted, instance) } },
        });
    }
    let security = security(spec, instance.cookie);
    if !security.is_empty() {
        operation["security"] = Value::Array(security);
    }
    operation
}

/// Describes the body with plain types, because code generators handle unions badly. It leaves out that `null` counts
/// as absent, and that unknown names are rejected.
fn body(spec: &Spec, accepted: &[Name], instance: &Instance<'_>) -> Value {
    let properties: Map<String, Value> =
        accepted.iter().map(|name| (name.text().to_owned(), name.schema(instance.bounds))).collect();
    let required: Vec<&str> =
        accepted.iter().filter(|name| spec.requires.contains(name)).map(|name| name.text()).collect();
    let mut schema = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if !spec.one_of.is_empty() {
        let names: Vec<String> = spec.one_of.iter().map(|name| format!("`{}`", name.text())).collect();
        schema["description"] = format!("Exactly one of {}.", names.join(" and ")).into();
    }
    schema
}

fn in_query(name: Name, instance: &Instance<'_>) -> Value {
    json!({ "name": name.text(), "in": "query", "schema": name.schema(instance.bounds) })
}

/// The request headers that the route uses.
fn headers(spec: &Spec, instance: &Instance<'_>) -> Vec<Value> {
    let header = |name: &str, description: &str, schema: Value| json!({ "name": name, "in": "header", "description": description, "schema": schema });
    let id = spec.accepts.contains(&Name::SessionId).then(|| {
        let description = "The session's id. It may come as `session_id` (also `sessionid`, `token`) in the query or \
                           the JSON body instead, or in the cookie.";
        header("X-Session-Id", description, Name::SessionId.schema(instance.bounds))
    });
    let condition = spec.condition.map(|condition| {
        let schema = json!({ "type": "string", "pattern": ENTITY_TAGS });
        match condition {
            Condition::IfNoneMatch => {
                header("If-None-Match", "Entity tags; 304 if one of them is the session's.", schema)
            }
            Condition::IfMatch => header(
                "If-Match",
                "Entity tags; 412 unless the version of one of them is the session's.",
                schema,
            ),
        }
    });
    id.into_iter().chain(condition).collect()
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
        // `X-Session-Id` is not listed: it is described as a place of the parameter `session_id`.
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

/// Every status that the route may return.
fn answers(spec: &Spec) -> Value {
    let mut answers = Map::new();
    let (status, answer) = answers::success(spec.returns);
    answers.insert(status.to_owned(), answer);
    if spec.condition == Some(Condition::IfNoneMatch) {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::routes::ROUTES;

    fn instance(cookie: Option<&str>) -> Instance<'_> {
        Instance {
            cookie,
            bounds: Bounds { max_ttl: Duration::from_secs(60), max_idle: None, cuts_ttl: false },
            mount: "/sessman",
        }
    }

    #[test]
    fn every_route_and_every_reference_is_in_it() {
        let document = document(&ROUTES, &instance(Some("PS_SESSID")));
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
        let document = document(&ROUTES, &instance(None));
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
