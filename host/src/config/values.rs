//! Typed values: `int:`, `float:`, `bool:` and `list:` before a value; without a prefix it is text.

use serde_json::{Number, Value};
use settings::loose::Loose;
use tracing::Level;

/// The type requested by a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Integer,
    Float,
    Boolean,
    List,
}

/// Splits off the prefix.
///
/// Called before interpolation: a secret from `${..}` that happens to begin with `list:` is still a single secret.
pub(crate) fn split_kind(text: &str) -> (Kind, &str) {
    let prefixes =
        [("int:", Kind::Integer), ("float:", Kind::Float), ("bool:", Kind::Boolean), ("list:", Kind::List)];
    prefixes
        .into_iter()
        .find_map(|(prefix, kind)| text.strip_prefix(prefix).map(|rest| (kind, rest)))
        .unwrap_or((Kind::Text, text))
}

/// Converts the text to a value.
///
/// # Errors
/// What was expected, never what was found.
pub(crate) fn typed(kind: Kind, text: &str) -> Result<Value, String> {
    match kind {
        Kind::Text => Ok(Value::String(text.to_owned())),
        Kind::Integer => {
            let text = text.trim();
            let signed = text.parse::<i64>().map(Number::from);
            signed
                .or_else(|_| text.parse::<u64>().map(Number::from))
                .map(Value::Number)
                .map_err(|_| "expected a whole number after `int:`".into())
        }
        Kind::Float => text
            .trim()
            .parse()
            .ok()
            .and_then(Number::from_f64)
            .map(Value::Number)
            .ok_or_else(|| "expected a finite number after `float:`".into()),
        Kind::Boolean => bool::from_text(text)
            .map(Value::Bool)
            .ok_or_else(|| format!("expected {} after `bool:`", bool::expected())),
        Kind::List => list(text.split_whitespace()),
    }
}

/// Marks an empty reference in a list of keys.
pub(crate) const NOTHING: &str = "\u{1}";

/// The value of a reference, or [`NOTHING`] if it is empty.
pub(crate) fn marked(text: &str) -> &str {
    if text.trim().is_empty() { NOTHING } else { text }
}

/// Parses a list of keys. An empty reference stays an empty key, which is rejected later: if it were skipped, nobody
/// would notice the missing key.
///
/// `marked` is `text` with [`NOTHING`] in it.
///
/// # Errors
/// As [`typed`].
pub(crate) fn keys(text: &str, marked: &str) -> Result<Value, String> {
    if marked.split_whitespace().count() == text.split_whitespace().count() {
        return typed(Kind::List, text);
    }
    list(marked.split_whitespace().map(|item| if item == NOTHING { "" } else { item }))
}

fn list<'a>(items: impl IntoIterator<Item = &'a str>) -> Result<Value, String> {
    let item = |item| match split_kind(item) {
        (Kind::List, _) => Err("a list cannot hold a list".into()),
        (kind, item) => typed(kind, item),
    };
    items.into_iter().map(item).collect::<Result<_, _>>().map(Value::Array)
}

/// Checks a value of the host, which is a name, a path, an address or a key, for invisible characters and surrounding
/// white space.
///
/// # Errors
/// What was found; never the value.
pub(crate) fn check_seen(value: &Value) -> Result<(), String> {
    let flaw = match value {
        Value::String(text) => settings::text::flaw(text),
        Value::Array(items) => items.iter().filter_map(Value::as_str).find_map(settings::text::flaw),
        _ => None,
    };
    flaw.map_or(Ok(()), |flaw| Err(flaw.to_owned()))
}

/// Parses the name of a log level.
pub fn level(text: &str) -> Option<Level> {
    match text.trim().to_ascii_lowercase().as_str() {
        "error" | "critical" => Some(Level::ERROR),
        "warn" | "warning" => Some(Level::WARN),
        "info" => Some(Level::INFO),
        "debug" => Some(Level::DEBUG),
        "trace" => Some(Level::TRACE),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Value, String> {
        let (kind, rest) = split_kind(text);
        typed(kind, rest)
    }

    #[test]
    fn each_prefix() {
        assert_eq!(read("int: -5"), Ok(json!(-5)));
        assert_eq!(read("int:18446744073709551615"), Ok(json!(u64::MAX)));
        assert_eq!(read("float:1.5"), Ok(json!(1.5)));
        assert_eq!(read("plain: text"), Ok(json!("plain: text")));
        assert_eq!(read("list:a  b\nc"), Ok(json!(["a", "b", "c"])));
        assert_eq!(read("list:int:1 bool:on x"), Ok(json!([1, true, "x"])));
        assert_eq!(read("list:"), Ok(json!([])));
    }

    #[test]
    fn words_for_true_and_false() {
        for word in ["true", "enabled", "on", "1", "enable", "True"] {
            assert_eq!(read(&format!("bool:{word}")), Ok(json!(true)), "{word}");
        }
        for word in ["false", "disabled", "off", "0", "disable"] {
            assert_eq!(read(&format!("bool:{word}")), Ok(json!(false)), "{word}");
        }
    }

    #[test]
    fn errors_do_not_quote_the_value() {
        for text in
            ["int:hidden", "float:hidden", "float:inf", "bool:hidden", "list:int:hidden", "list:list:a"]
        {
            let message = read(text).unwrap_err();
            assert!(!message.contains("hidden") && !message.contains("inf "), "{message}");
        }
    }
}
