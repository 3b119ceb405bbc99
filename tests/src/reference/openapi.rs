//! The page of routes, from the OpenAPI description that a running instance gives.

use serde_json::Value;

const HEAD: &str = "# Routes\n\nMade from `openapi.json` of an instance with the shipped configuration and an API key; \
[http-api.md](http-api.md) says what is behind it. *Body* members may stand in the query as well, `data` and `metadata` \
excepted.\n";

/// What every route may answer with.
const ALWAYS: [&str; 7] = ["400", "413", "415", "429", "500", "503", "504"];

/// The page.
///
/// # Panics
/// When the description has not the form that it has.
pub fn page(description: &Value) -> String {
    let mut page = HEAD.to_owned();
    let mount = text(&description["servers"][0]["url"]);
    for (path, item) in description["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            page.push_str(&format!("\n## {} {mount}{path}\n\n", method.to_uppercase()));
            page.push_str(&format!("{}.", text(&operation["summary"])));
            page.push_str(&format!(" Open to: {}.\n\n", opened_by(description, operation)));
            let parameters = parameters(operation);
            if !parameters.is_empty() {
                page.push_str(&format!(
                    "| parameter | in | value | |\n| --- | --- | --- | --- |\n{parameters}\n"
                ));
            }
            page.push_str(&format!(
                "| answer | |\n| --- | --- |\n{}",
                answers(description, operation, |status| !ALWAYS.contains(&status))
            ));
        }
    }
    let any = &description["paths"]["/new"]["post"];
    page.push_str("\n## Answers of every route\n\n| answer | |\n| --- | --- |\n");
    page.push_str(&answers(description, any, |status| ALWAYS.contains(&status)));
    page.push_str("\n## Bodies of answers\n");
    for (name, schema) in description["components"]["schemas"].as_object().expect("schemas") {
        page.push_str(&format!("\n### {name}\n\n| member | value | |\n| --- | --- | --- |\n"));
        for (member, of) in schema["properties"].as_object().expect("members") {
            let required =
                schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == member));
            let optional = if required { "" } else { "; may be missing" };
            page.push_str(&format!(
                "| `{member}` | {}{optional} | {} |\n",
                kind(of),
                text(&of["description"])
            ));
        }
    }
    page
}

/// Who may call it: the headers and cookies that open it.
fn opened_by(description: &Value, operation: &Value) -> String {
    let schemes = &description["components"]["securitySchemes"];
    let Some(security) = operation["security"].as_array() else { return "everybody".into() };
    let names = security.iter().filter_map(Value::as_object).map(|one| {
        let of = |name: &String| match text(&schemes[name]["scheme"]) {
            "bearer" => "`Authorization: Bearer`".to_owned(),
            _ => format!("`{}`", text(&schemes[name]["name"])),
        };
        one.keys().map(of).collect::<Vec<_>>().join(" with ")
    });
    let names: Vec<String> = names.filter(|name| !name.is_empty()).collect();
    if names.is_empty() { "everybody".into() } else { names.join(", ") }
}

fn parameters(operation: &Value) -> String {
    let mut rows = String::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let schema = &parameter["schema"];
        let about = [text(&parameter["description"]), text(&schema["description"])].concat();
        rows.push_str(&row(
            text(&parameter["name"]),
            text(&parameter["in"]),
            parameter["required"] == true,
            schema,
            &about,
        ));
    }
    for (media_type, content) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
        let schema = &content["schema"];
        let Some(members) = schema["properties"].as_object() else {
            let about = text(&operation["requestBody"]["description"]);
            rows.push_str(&row(media_type, "body", true, schema, about));
            continue;
        };
        for (member, of) in members {
            let is_required =
                schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == member));
            // `null` is as good as nothing: what counts is the other.
            let of = if of["anyOf"].is_array() { &of["anyOf"][0] } else { of };
            rows.push_str(&row(member, "body", is_required, of, text(&of["description"])));
        }
    }
    rows
}

fn row(name: &str, place: &str, is_required: bool, schema: &Value, about: &str) -> String {
    let required = if is_required { ", required" } else { "" };
    format!("| `{name}` | {place}{required} | {} | {} |\n", kind(schema), about.replace('|', "\\|"))
}

fn answers(description: &Value, operation: &Value, wanted: impl Fn(&str) -> bool) -> String {
    let all = operation["responses"].as_object().expect("answers");
    let mut all: Vec<(&String, &Value)> = all.iter().collect();
    assert!(ALWAYS.iter().all(|status| all.iter().any(|(one, _)| one == status)), "{operation}");
    all.retain(|(status, _)| wanted(status));
    all.sort_by_key(|(status, _)| *status);
    let mut rows = String::new();
    for (status, answer) in all {
        let shared = &description["components"]["responses"][status];
        let answer = if answer["$ref"].is_string() { shared } else { answer };
        let content = answer["content"].as_object().and_then(|content| content.iter().next());
        let body = match content.map(|(media_type, of)| (media_type, text(&of["schema"]["$ref"]))) {
            Some((_, of)) if !of.is_empty() => {
                let name = of.rsplit('/').next().unwrap_or_default();
                format!(" [{name}](#{})", name.to_lowercase())
            }
            Some((media_type, _)) => format!(" `{media_type}`"),
            None => String::new(),
        };
        rows.push_str(&format!("| {status}{body} | {} |\n", text(&answer["description"])));
    }
    rows
}

/// A schema in a few words.
fn kind(schema: &Value) -> String {
    let list =
        |values: &Value| values.as_array().into_iter().flatten().map(kind).collect::<Vec<_>>().join(" or ");
    if let Some(of) = schema["$ref"].as_str() {
        let name = of.rsplit('/').next().unwrap_or_default();
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if schema["anyOf"].is_array() {
        return list(&schema["anyOf"]);
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(|value| format!("`{}`", text(value))).collect::<Vec<_>>().join(" or ");
    }
    if !schema["const"].is_null() {
        return format!("`{}`", schema["const"].to_string().trim_matches('"'));
    }
    let of = match &schema["type"] {
        Value::String(one) => one.clone(),
        Value::Array(several) => several.iter().map(text).collect::<Vec<_>>().join(" or "),
        _ => return "any JSON".into(),
    };
    let of = if schema["format"] == "date-time" { "time".to_owned() } else { of };
    let bounds = [("minimum", "maximum", ""), ("minLength", "maxLength", " characters")].into_iter();
    let bounds = bounds.filter_map(|(least, most, of)| {
        Some(format!(", {} to {}{of}", schema[least].as_u64()?, schema[most].as_u64()?))
    });
    let items =
        if schema["items"].is_object() { format!(" of {}", kind(&schema["items"])) } else { String::new() };
    format!("{of}{items}{}", bounds.collect::<String>())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
