//! JSON that every store can hold exactly.
//!
//! What BSON cannot hold is refused for every store alike, so that moving from one to another never fails. The text
//! is kept in one canonical form (compact, members in the order they came in), and goes to the client as it is.

#[cfg(test)]
pub(crate) mod arbitrary;
#[cfg(test)]
pub(crate) mod growth;
pub mod large;
mod limits;
mod place;
mod reader;

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

pub use limits::{DataError, MAX_NESTING};

/// A JSON value in canonical text.
#[derive(Clone, PartialEq, Eq)]
pub struct Data(Arc<str>);

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
        reader::read(text).map(|text| Self(text.into()))
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

    /// This data with the members of `patch` put in (RFC 7396: `null` removes one, objects merge member by member,
    /// everything else replaces). What every store can hold stays so: two of them together nest no deeper.
    #[must_use]
    pub fn merged_with(&self, patch: &Self) -> Self {
        let mut value = self.to_value();
        merge_patch(&mut value, patch.to_value());
        Self(value.to_string().into())
    }

    /// This object with the members added that it does not have.
    #[must_use]
    pub fn with_texts<'a>(&self, members: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        // Most often there is nothing yet.
        let object = if self.as_str() == "{}" { Value::Object(Map::new()) } else { self.to_value() };
        let Value::Object(mut object) = object else { return self.clone() };
        for (key, text) in members {
            object.entry(key).or_insert(Value::String(text));
        }
        Self(Value::Object(object).to_string().into())
    }
}

impl fmt::Debug for Data {
    /// Not the content: it may hold what users entrust to the application.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Data({} bytes)", self.0.len())
    }
}

/// JSON Merge Patch, RFC 7396.
fn merge_patch(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    if patch.values().any(Value::is_null) {
        // All at once: each removal on its own would move what is behind it, and the order of the others is to stay.
        target.retain(|key, _| !patch.get(key).is_some_and(Value::is_null));
    }
    for (key, value) in patch {
        if !value.is_null() {
            merge_patch(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests;
