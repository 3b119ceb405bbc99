//! What inputs are put together from.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Number, Value};

use crate::choice::{nested, one_of};

/// Text of at most `most` pieces: mostly those of a grammar, sometimes any character.
pub(crate) fn text(pieces: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    let piece = one_of![
        7 => any::<u8>().prop_map(|number| pieces[usize::from(number) % pieces.len()].to_owned()),
        1 => any::<char>().prop_map(String::from),
    ];
    vec(piece, 0..most).prop_map(|pieces| pieces.concat())
}

/// The pieces of JSON, and of what is nearly JSON.
pub(crate) const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\"a\":",
    "\"b\":",
    "\"\":",
    "{\"a\":",
    "null",
    "true",
    "false",
    "0",
    "-",
    "1",
    "1.0",
    "-0.0",
    "1e400",
    "5e-324",
    "9223372036854775807",
    "9223372036854775808",
    "\\",
    "\\u0000",
    "\\ud800",
    "\\udc00",
    "\"\\u0061\":",
    " ",
    "\n",
    "'",
    "//",
    "/*",
    "*/",
    "NaN",
    "\u{feff}",
    "\u{1f600}",
    "[[[[[[[[",
    "]]]]]]]]",
    "\"$a.b%\":",
    "\"x\"",
];

/// A JSON value with strings and keys of `texts`, without what is not storable.
pub(crate) fn json(texts: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let scalar = one_of![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i8>().prop_map(Value::from),
        float().prop_map(|float| Number::from_f64(float).map_or(Value::Null, Value::Number)),
        text(texts, 5).prop_map(Value::from),
    ];
    nested(scalar.boxed(), 3, move |inner| {
        one_of![vec(inner.clone(), 0..4).prop_map(Value::from), object(texts, inner).prop_map(Value::from)]
            .boxed()
    })
}

/// Any of the floating point numbers, those near to whole ones oftener.
pub(crate) fn float() -> impl Strategy<Value = f64> {
    one_of![any::<u64>().prop_map(f64::from_bits), any::<i32>().prop_map(|number| f64::from(number) / 8.0)]
}

/// A JSON object with such values.
pub(crate) fn object(
    texts: &'static [&'static str],
    values: impl Strategy<Value = Value>,
) -> impl Strategy<Value = Map<String, Value>> {
    let key = text(texts, 3).prop_map(|key| key.replace('\0', ""));
    vec((key, values), 0..4).prop_map(|members| members.into_iter().collect())
}
