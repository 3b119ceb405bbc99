//! JSON schemas, from what `pserve` says that it expects.

use serde_json::{Map, Value, json};

use super::keys::Key;

/// The schema of a `sessman.json`, in which keys of the host may stand, too.
pub(super) fn sessman(keys: &[Key], instance: &[Key]) -> Value {
    let mut schema = object(keys.iter().chain(instance));
    schema["properties"]["cookie"]["anyOf"] = json!([
        { "const": false },
        {
            "type": "object",
            "properties": {
                "name": { "type": "string" },
                "path": { "type": "string" },
                "domain": { "type": "string" },
                "same_site": { "type": "string" },
                "secure": { "type": "boolean" },
            },
            "additionalProperties": false,
        },
    ]);
    titled("sessman.json", schema)
}

/// The schema of a `pserve.ini` as an object of sections.
pub(super) fn pserve(sections: &[(&'static str, Vec<Key>)]) -> Value {
    let mut properties: Map<String, Value> =
        sections.iter().map(|(name, keys)| ((*name).to_owned(), object(keys.iter()))).collect();
    properties.insert(
        "plugin_parms".into(),
        json!({
            "type": "object",
            "description": "One line an instance.",
            "additionalProperties": { "type": "string" },
        }),
    );
    // Sections of one's own.
    let own = json!({ "type": "object" });
    let schema = json!({ "type": "object", "properties": properties, "additionalProperties": own });
    titled("pserve.ini", schema)
}

fn titled(title: &str, schema: Value) -> Value {
    let mut titled = json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "title": title });
    if let (Some(titled), Value::Object(schema)) = (titled.as_object_mut(), schema) {
        titled.extend(schema);
    }
    titled
}

fn object<'a>(keys: impl Iterator<Item = &'a Key>) -> Value {
    let properties: Map<String, Value> = keys.map(|key| (key.name.clone(), property(key))).collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn property(key: &Key) -> Value {
    let mut property = json!({ "description": format!("{}. Default: {}.", key.meaning, key.default) });
    let mut put = |name: &str, value: Value| property[name] = value;
    match key.of.as_str() {
        // Numbers and truth values may be written as text, and are where `${..}` brings them in.
        "u16" | "u32" | "u64" | "usize" => {
            put("type", json!(["integer", "string"]));
            put("pattern", json!(r"^\s*[0-9]+\s*$|\$\{"));
            let bounds = key.values.split(' ').filter_map(|word| word.parse::<u64>().ok());
            for (name, bound) in ["minimum", "maximum"].into_iter().zip(bounds) {
                put(name, json!(bound));
            }
        }
        "bool" => put("type", json!(["boolean", "string"])),
        "OneOrMany" => texts(&mut put),
        "Value" if key.name != "cookie" => texts(&mut put),
        "Value" => {}
        _ => match key.choices() {
            Some(choices) => {
                put("anyOf", json!([{ "enum": choices }, { "type": "string", "pattern": r"\$\{" }]));
            }
            None if key.values.contains("whole number") => put("type", json!(["string", "integer"])),
            None => put("type", json!("string")),
        },
    }
    // A text stands in backticks; words beyond a value say what it depends on.
    let literal = match key.default.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) {
        Some("{}") => Some(json!({})),
        Some(text) if !text.contains(['`', '<']) => Some(json!(text)),
        Some(_) => None,
        None => serde_json::from_str(&key.default).ok(),
    };
    if let Some(literal) = literal {
        put("default", literal);
    }
    property
}

fn texts(put: &mut dyn FnMut(&str, Value)) {
    put("type", json!(["string", "array"]));
    put("items", json!({ "type": "string" }));
}
