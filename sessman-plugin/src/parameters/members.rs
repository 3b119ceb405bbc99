//! The members of a JSON object, in their order and still as text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::problem::Problem;

/// The members of a JSON object.
pub(super) struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Parses a JSON object. A duplicate key is rejected: another parser of the same text may use the other value.
    pub(super) fn parse(text: &'a str) -> Result<Self, Problem> {
        let members: Self = serde_json::from_str(text).map_err(|error| match error.classify() {
            // serde's message about a value that is not an object quotes the whole value.
            Category::Data => Problem::malformed(format!(
                "the body: expected a JSON object of at most {MAX_MEMBERS} members"
            )),
            Category::Syntax | Category::Eof | Category::Io => {
                Problem::malformed(format!("the body is not JSON: {error}"))
            }
        })?;
        for (index, (key, _)) in members.0.iter().enumerate() {
            if members.0[..index].iter().any(|(earlier, _)| earlier == key) {
                let shown: String = key.chars().take(64).collect();
                return Err(Problem::malformed(format!("the body has the key {shown:?} more than once")));
            }
        }
        Ok(members)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), *value))
    }
}

/// Limit of members, more than any route has parameters: it keeps the quadratic search for duplicates short.
const MAX_MEMBERS: usize = 32;

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Key(key), value)) = map.next_entry()? {
                    if members.len() == MAX_MEMBERS {
                        return Err(serde::de::Error::custom(format!("more than {MAX_MEMBERS} members")));
                    }
                    members.push((key, value));
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Object).map(Members)
    }
}

/// A key, borrowed if it contains no escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
