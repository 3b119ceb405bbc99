//! A plugin's JSON file: JSON5, with additional checks that its parser does not make.

use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};

/// The parser recurses, so a file of nested brackets could crash the process by stack overflow.
const MAX_DEPTH: usize = 64;

/// Parses an object.
///
/// # Errors
/// Line, column and the reason. It may quote names of keys, but no values.
pub(crate) fn object(text: &str) -> Result<Map<String, Value>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match json5::from_str::<Root>(text).map_err(|error| error.to_string())?.0 {
        Value::Object(object) => Ok(object),
        _ => Err("expected an object, `{ .. }`".into()),
    }
}

/// The outermost value.
struct Root(Value);

impl<'de> Deserialize<'de> for Root {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Node { depth: 0 }.deserialize(deserializer).map(Self)
    }
}

/// A value with its depth.
#[derive(Clone, Copy)]
struct Node {
    depth: usize,
}

impl Node {
    fn below<E: Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Node {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        // JSON5 has NaN and Infinity, JSON does not, and the plugin gets JSON.
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(below)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format!("key `{key}` is there twice")));
            }
            let value = entries.next_value_seed(below)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

/// Replaces every string in `object`, at any depth, with the result of `replace`.
///
/// # Errors
/// One message for each string that cannot be replaced, beginning with its path in the object.
pub(crate) fn replace_strings(
    object: &mut Map<String, Value>,
    replace: &dyn Fn(&str) -> Result<String, String>,
) -> Result<(), Vec<String>> {
    fn walk(
        value: &mut Value,
        path: &str,
        replace: &dyn Fn(&str) -> Result<String, String>,
        problems: &mut Vec<String>,
    ) {
        match value {
            Value::String(text) => match replace(text) {
                Ok(replaced) => *text = replaced,
                Err(message) => problems.push(format!("{path}: {message}")),
            },
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    walk(item, &format!("{path}[{index}]"), replace, problems);
                }
            }
            Value::Object(object) => {
                for (key, value) in object {
                    walk(value, &format!("{path}.{key}"), replace, problems);
                }
            }
            _ => {}
        }
    }
    let mut problems = Vec::new();
    for (key, value) in object {
        walk(value, key, replace, &mut problems);
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn comments_trailing_commas_and_bare_keys() {
        let text = "\u{feff}// one\n{\"a\": 1, /* two */ b: 'x', \"c\": [true, null,],} // three";
        assert_eq!(object(text).map(Value::Object), Ok(json!({ "a": 1, "b": "x", "c": [true, null] })));
    }

    #[test]
    fn large_integers_and_the_order_of_keys_survive() {
        let text = "{z: 18446744073709551615, a: -9223372036854775808, m: 9007199254740993, f: 1.0}";
        let printed = serde_json::to_string(&object(text).unwrap()).unwrap();
        assert_eq!(
            printed,
            r#"{"z":18446744073709551615,"a":-9223372036854775808,"m":9007199254740993,"f":1.0}"#
        );
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        for text in ["", "  // nothing", "[]", "1", "{} {}", "{}x", "{a: 1", "{a: Infinity}", "{a: NaN}"] {
            assert!(object(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_twice_is_an_error_that_says_which() {
        assert!(object("{a: 1, b: {c: 1, 'c': 2}}").unwrap_err().contains("`c` is there twice"));
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_a_stack_overflow() {
        for bracket in ["[", "{a:"] {
            let text = format!("{{a: {}", bracket.repeat(100_000));
            assert!(object(&text).unwrap_err().contains("nested deeper"));
        }
    }

    #[test]
    fn strings_at_any_depth_are_replaced_and_all_problems_named() {
        let mut object = object("{a: 'x', b: [{c: 'x'}], d: 1}").unwrap();
        replace_strings(&mut object, &|text| Ok(format!("<{text}>"))).unwrap();
        assert_eq!(Value::Object(object.clone()), json!({ "a": "<x>", "b": [{ "c": "<x>" }], "d": 1 }));
        let problems = replace_strings(&mut object, &|_| Err("no".into())).unwrap_err();
        assert_eq!(problems, ["a: no", "b[0].c: no"]);
    }
}
