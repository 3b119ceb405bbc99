//! A plugin's JSON file and its references.

use proptest::collection::vec;
use proptest::prelude::*;
use pserve::config::parse_json;
use serde_json::{Map, Value, json};

use crate::choice::one_of;
use crate::door::{Door, as_text, door};
use crate::pieces::{self, text};

const SECRET: &str = "s3cr3tV4lue";

/// Beside the JSON file. The references of `loop` never end.
const INI: &str =
    "[s]\nkey = value\nref = <${key}>\nloop = ${s:pool}\npool = ${loop}\nbad = $\nkept = s3cr3tV4lue\n";

const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "a",
    "b:",
    "{a:",
    "'",
    "\"",
    "'x'",
    "\"x\"",
    "null",
    "true",
    "+1",
    "-",
    "0x1F",
    ".5",
    "5.",
    "1e400",
    "Infinity",
    "NaN",
    "18446744073709551615",
    "18446744073709551616",
    "//",
    "/*",
    "*/",
    "\n",
    "\\",
    "\\\n",
    "\\u0061",
    "\\x41",
    "\u{2028}",
    "\u{feff}",
    "\u{a0}",
    "\u{1f600}",
    "$",
    "$$",
    "${",
    "${s:key}",
    "${S:REF}",
    "'${s:loop}'",
    "'${s:bad}'",
    "'${s:none}'",
    "'${ENV:PW}'",
    "'${s:kept}'",
    "${ENV:NONE:-x}",
    "'$${ENV:PW}'",
];

/// In strings and keys of values that are well-formed.
const TEXTS: &[&str] =
    &["a", "b", "$", "{", "}", "${", "$$", "s:key", "\"", "'", "\\", "\n", "\0", "\u{2028}", "\u{fc}"];

fn environment(name: &str) -> Option<String> {
    (name == "PW").then(|| format!("{SECRET}${{s:key}}"))
}

fn read(json: &str) -> Result<Map<String, Value>, Vec<String>> {
    parse_json(json, INI, &environment)
}

/// One string of the file: what is written, and what it means.
#[derive(Debug, Clone)]
struct Piece {
    written: String,
    means: String,
}

fn piece() -> impl Strategy<Value = Piece> {
    let references = [
        ("${s:key}", "value"),
        ("${S:Ref}", "<value>"),
        ("${ENV:PW}", "s3cr3tV4lue${s:key}"),
        ("${ENV:NONE:-}", ""),
        ("${env:NONE:-d:-e}", "d:-e"),
        ("$${s:key}", "${s:key}"),
        ("$${", "${"),
    ];
    let reference = prop::sample::select(references.to_vec())
        .prop_map(|(written, means)| Piece { written: written.into(), means: means.into() });
    // A dollar sign at its end would be read with what follows.
    let plain = text(TEXTS, 4).prop_map(|text| {
        let text = text.replace('$', "");
        Piece { written: text.clone(), means: text }
    });
    one_of![reference, plain]
}

#[derive(Debug, Clone)]
enum Input {
    Text(String),
    Value(Map<String, Value>),
    Pieces(Vec<Piece>),
}

fn check(input: Input) {
    match input {
        Input::Text(text) => any_text(&text),
        Input::Value(object) => assert_eq!(read(&escaped(&object)), Ok(object)),
        Input::Pieces(pieces) => {
            let (written, means): (String, String) =
                pieces.into_iter().map(|piece| (piece.written, piece.means)).unzip();
            let object = |text: &str| json!({ "a": [{ "b": text }] });
            assert_eq!(read(&object(&written).to_string()).map(Value::from), Ok(object(&means)));
        }
    }
}

fn any_text(text: &str) {
    let object = read(text);
    assert_eq!(object, read(text), "two readings differ");
    match object {
        // What was read means the same once it is written plainly.
        Ok(object) => assert_eq!(read(&escaped(&object)), Ok(object)),
        Err(messages) => {
            assert!(!messages.is_empty());
            // Names are shown: of a key, or of what is referred to.
            let named_so = text.contains(SECRET);
            assert!(named_so || !messages.concat().contains(SECRET), "an error shows a value: {messages:?}");
        }
    }
}

/// The object as JSON that has no references.
fn escaped(object: &Map<String, Value>) -> String {
    fn walk(value: &mut Value) {
        match value {
            Value::String(text) => *text = text.replace("${", "$${"),
            Value::Array(items) => items.iter_mut().for_each(walk),
            Value::Object(object) => object.values_mut().for_each(walk),
            _ => {}
        }
    }
    let mut value = Value::Object(object.clone());
    walk(&mut value);
    value.to_string()
}

pub(crate) fn open() -> Box<dyn Door> {
    let any = text(PIECES, 24);
    let input = one_of![
        2 => any.prop_map(Input::Text),
        2 => text(PIECES, 16).prop_map(|inside| Input::Text(format!("{{a:{inside}}}"))),
        1 => pieces::object(TEXTS, pieces::json(TEXTS)).prop_map(Input::Value),
        1 => vec(piece(), 0..6).prop_map(Input::Pieces),
    ];
    let shipped: &[&[u8]] =
        &[include_bytes!("../../config/sessman.json"), include_bytes!("../../config/sessman.mongodb.json")];
    Box::new(door(input, check).raw(|bytes| Input::Text(as_text(bytes)), shipped).words(PIECES).words(TEXTS))
}
