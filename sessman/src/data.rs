//! JSON that every store can hold without loss.
//!
//! What BSON cannot hold is rejected for every store, so that a migration from one to another never fails. The text is kept
//! in one canonical form (compact, members in their original order), and is sent to the client unchanged.

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

    /// Parses JSON.
    ///
    /// # Errors
    /// Text that is not JSON, and JSON that not every store can hold.
    pub fn parse(text: &str) -> Result<Self, DataError> {
        reader::read(text).map(|text| Self(text.into()))
    }

    /// Trusted text that a store wrote from a `Data`; not validated again.
    pub fn from_store(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Parses the text into a value.
    pub fn to_value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or(Value::Null)
    }

    /// Applies `patch` (RFC 7396: `null` removes a member, objects merge recursively, everything else replaces). The result can
    /// be held by every store, as it nests no deeper than the two.
    #[must_use]
    pub fn merged_with(&self, patch: &Self) -> Self {
        let mut value = self.to_value();
        merge_patch(&mut value, patch.to_value());
        Self(value.to_string().into())
    }

    /// Adds the members that this object does not have.
    #[must_use]
    pub fn with_texts<'a>(&self, members: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        // Usually it is empty.
        let object = if self.as_str() == "{}" { Value::Object(Map::new()) } else { self.to_value() };
        let Value::Object(mut object) = object else { return self.clone() };
        for (key, text) in members {
            object.entry(key).or_insert(Value::String(text));
        }
        Self(Value::Object(object).to_string().into())
    }
}

impl fmt::Debug for Data {
    /// Without the content, which may be personal data.
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
        // In one pass: removing one by one would shift all later members each time, and their order must be kept.
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
