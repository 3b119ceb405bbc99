//! Values that may arrive as text: an INI line and an interpolated JSON string know nothing else.

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A type that can be read from a JSON value or from its text.
pub trait Loose: Sized {
    /// What is expected, for the error: "a whole number from 0 to 65535".
    fn expected() -> String;
    /// Reads it from a JSON value of its own type.
    fn from_value(value: &Value) -> Option<Self>;
    /// Reads it from text; numbers and booleans do not mind white space around them.
    fn from_text(text: &str) -> Option<Self>;
}

macro_rules! whole_number {
    ($($type:ty),*) => {$(
        impl Loose for $type {
            fn expected() -> String {
                format!("a whole number from {} to {}", <$type>::MIN, <$type>::MAX)
            }
            fn from_value(value: &Value) -> Option<Self> {
                value.as_u64()?.try_into().ok()
            }
            fn from_text(text: &str) -> Option<Self> {
                text.trim().parse().ok()
            }
        }
    )*};
}
whole_number!(u8, u16, u32, u64, usize);

impl Loose for bool {
    fn expected() -> String {
        "true or false (also on/off, 1/0, enable/disable, enabled/disabled, yes/no)".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        value.as_bool()
    }
    fn from_text(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "on" | "1" | "enable" | "enabled" | "yes" => Some(true),
            "false" | "off" | "0" | "disable" | "disabled" | "no" => Some(false),
            _ => None,
        }
    }
}

impl Loose for String {
    fn expected() -> String {
        "text".into()
    }
    fn from_value(_: &Value) -> Option<Self> {
        None
    }
    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

/// For `#[serde(deserialize_with = "settings::loose::option")]` on an `Option<T>`; `null` is `None`.
///
/// Text keys use it too: serde's own "invalid type" error would print the value, which may be a secret.
///
/// # Errors
/// Says what is expected, never what was found.
pub fn option<'de, T: Loose, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let read = match &value {
        Value::Null => return Ok(None),
        Value::String(text) => T::from_text(text),
        other => T::from_value(other),
    };
    read.map(Some).ok_or_else(|| D::Error::custom(format!("expected {}", T::expected())))
}

/// As [`option`], for what is a name in one place and a number in another: a whole number becomes its text.
///
/// # Errors
/// As [`option`].
pub fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Number(number) if number.is_u64() => Ok(Some(number.to_string())),
        _ => Err(D::Error::custom("expected text, or a whole number")),
    }
}

/// One text or a list of them: `"a"`, `["a", "b"]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct OneOrMany(pub Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self(vec![text])),
            Value::Array(items) => items
                .into_iter()
                .map(|item| match item {
                    Value::String(text) => Ok(text),
                    _ => Err(D::Error::custom("expected text, or a list of texts")),
                })
                .collect::<Result<_, _>>()
                .map(Self),
            _ => Err(D::Error::custom("expected text, or a list of texts")),
        }
    }
}
