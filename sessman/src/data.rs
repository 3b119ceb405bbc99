//! JSON that every store can hold exactly.
//!
//! What BSON cannot hold is refused for every store alike, so that moving from one to another never fails. The text
//! is kept in one canonical form (compact, members in the order they came in), and goes to the client as it is.

mod place;

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

/// Levels of arrays and objects that data may have: the depth that MongoDB accepts.
pub const MAX_NESTING: usize = 100;

/// A JSON value in canonical text.
#[derive(Clone, PartialEq, Eq)]
pub struct Data(Arc<str>);

/// Why a text or value cannot be data.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DataError {
    /// It is not JSON.
    #[error("not JSON: {0}")]
    Malformed(String),
    /// It is JSON that not every store can hold.
    #[error("{} cannot be stored: {reason}", place(pointer))]
    NotStorable {
        /// Where, as a JSON pointer (RFC 6901); empty for the whole.
        pointer: String,
        /// What is wrong there.
        reason: &'static str,
    },
}

const INTEGER_RANGE: &str = "an integer outside the range of 64 bits with a sign";
const TOO_DEEP: &str = "nested deeper than 100 levels";
const NUL_IN_KEY: &str = "a NUL character in a key";

fn place(pointer: &str) -> String {
    if pointer.is_empty() { "the value".into() } else { format!("the value at {pointer}") }
}

impl Data {
    /// `{}`
    pub fn empty() -> Self {
        Self("{}".into())
    }

    /// Reads JSON text.
    ///
    /// # Errors
    /// Text that is not JSON, and JSON that not every store can hold.
    pub fn parse(text: &str) -> Result<Self, DataError> {
        // serde_json reads an integer that is too large as the nearest float, so that it would be changed in
        // silence. Only a run of 19 digits can be one: the second look is rare.
        if let Some(offset) = place::integer_out_of_range(text) {
            return Err(DataError::NotStorable {
                pointer: place::pointer_at(text, offset),
                reason: INTEGER_RANGE,
            });
        }
        let mut reader = serde_json::Deserializer::from_str(text);
        let value = serde::Deserialize::deserialize(&mut reader)
            .and_then(|value: Value| reader.end().map(|()| value));
        match value {
            Ok(value) => Self::from_value(&value),
            // The parser stops at 128 levels, before the check of ours is reached.
            Err(error) if error.to_string().starts_with("recursion limit") => {
                Err(DataError::NotStorable { pointer: String::new(), reason: TOO_DEEP })
            }
            Err(error) => Err(DataError::Malformed(error.to_string())),
        }
    }

    /// Takes a value, which is not changed.
    ///
    /// # Errors
    /// [`DataError::NotStorable`].
    pub fn from_value(value: &Value) -> Result<Self, DataError> {
        check(value, 0).map_err(|(mut path, reason)| {
            path.reverse();
            DataError::NotStorable { pointer: path.concat(), reason }
        })?;
        Ok(Self(value.to_string().into()))
    }

    /// Text that a store wrote from a `Data` before.
    pub fn from_store(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value, parsed anew.
    pub fn to_value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or(Value::Null)
    }

    /// This data with the members of `other` put in (RFC 7396: `null` removes one, objects merge member by
    /// member, everything else replaces).
    ///
    /// # Errors
    /// [`DataError::NotStorable`] when the two together are nested too deep.
    pub fn merged_with(&self, other: &Value) -> Result<Self, DataError> {
        let mut value = self.to_value();
        merge_patch(&mut value, other);
        Self::from_value(&value)
    }
}

impl fmt::Debug for Data {
    /// Not the content: it may hold what users entrust to the application.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Data({} bytes)", self.0.len())
    }
}

/// JSON Merge Patch, RFC 7396.
fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            // `shift_remove` keeps the order of the other members.
            target.shift_remove(key);
        } else {
            merge_patch(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// The path to the first place that cannot be stored, innermost step first.
fn check(value: &Value, depth: usize) -> Result<(), (Vec<String>, &'static str)> {
    let at = |step: String| {
        move |(mut path, reason): (Vec<String>, _)| {
            path.push(step);
            (path, reason)
        }
    };
    if depth >= MAX_NESTING && (value.is_object() || value.is_array()) {
        return Err((Vec::new(), TOO_DEEP));
    }
    match value {
        Value::Number(number) if number.is_u64() && !number.is_i64() => Err((Vec::new(), INTEGER_RANGE)),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| check(item, depth + 1).map_err(at(format!("/{index}")))),
        Value::Object(members) => members.iter().try_for_each(|(key, member)| {
            let result =
                if key.contains('\0') { Err((Vec::new(), NUL_IN_KEY)) } else { check(member, depth + 1) };
            result.map_err(at(place::step(key)))
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn not_storable(text: &str) -> (String, &'static str) {
        match Data::parse(text) {
            Err(DataError::NotStorable { pointer, reason }) => (pointer, reason),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn order_types_and_unicode_stay() {
        let text = r#"{"z":1,"a":1.0,"n":null,"ü\u0000":"\u0000😀","deep":[[],{},-9223372036854775808,9223372036854775807]}"#;
        let kept = r#"{"z":1,"a":1.0,"n":null,"k":"\u0000😀","deep":[[],{},-9223372036854775808,9223372036854775807]}"#;
        assert_eq!(not_storable(text).1, NUL_IN_KEY);
        assert_eq!(Data::parse(kept).unwrap().as_str(), kept);
        assert_eq!(Data::parse(" [1 , 2.50] ").unwrap().as_str(), "[1,2.5]");
    }

    #[test]
    fn integers_that_would_change_are_refused_with_their_place() {
        assert_eq!(not_storable(r#"{"a/b":[1,9223372036854775808]}"#), ("/a~1b/1".into(), INTEGER_RANGE));
        assert_eq!(not_storable("-9223372036854775809"), (String::new(), INTEGER_RANGE));
        assert_eq!(not_storable("[0,[123456789012345678901234567890]]"), ("/1/0".into(), INTEGER_RANGE));
        for fine in
            ["1e300", "12345678901234567890.5", r#""12345678901234567890""#, r#"{"12345678901234567890":1}"#]
        {
            Data::parse(fine).unwrap();
        }
        Data::parse("[00000000000000000000]").unwrap_err();
    }

    #[test]
    fn a_hundred_levels_fit_and_one_more_does_not() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        Data::parse(&nested(100)).unwrap();
        assert_eq!(not_storable(&nested(101)), ("/0".repeat(100), TOO_DEEP));
        assert_eq!(not_storable(&nested(10_000)).1, TOO_DEEP);
    }

    #[test]
    fn merging_follows_rfc_7396() {
        let cases = [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ];
        for (target, patch, result) in cases {
            let merged =
                Data::parse(target).unwrap().merged_with(&serde_json::from_str(patch).unwrap()).unwrap();
            assert_eq!(merged.as_str(), result, "{target} + {patch}");
        }
    }
}
