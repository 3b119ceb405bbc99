//! The fields of a document, checked when they are read.

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{RawBsonRef, RawDocument};

use super::json::{self, NotOurs};
use crate::data::Data;
use crate::id::Handle;
use crate::store::StoreError;
use crate::time::Timestamp;

/// Why a document of the collection cannot be read as a record.
#[derive(Debug, thiserror::Error)]
#[error("the document of session {handle} cannot be read: {field}: {reason}")]
pub(super) struct Unreadable {
    handle: String,
    field: String,
    reason: String,
}

impl From<Unreadable> for StoreError {
    fn from(unreadable: Unreadable) -> Self {
        Self::Unusable(unreadable.to_string())
    }
}

/// The handle of a document, if its `_id` is one.
pub(super) fn handle_of(document: &RawDocument) -> Option<Handle> {
    let Ok(Some(RawBsonRef::Binary(id))) = document.get("_id") else { return None };
    let bytes: [u8; 12] = id.bytes.try_into().ok()?;
    (id.subtype == BinarySubtype::Generic).then(|| Handle::from(bytes))
}

/// Reads fields by name.
pub(super) struct Fields<'a> {
    document: &'a RawDocument,
    handle: Option<Handle>,
}

impl<'a> Fields<'a> {
    pub(super) fn of(document: &'a RawDocument) -> Self {
        Self { document, handle: handle_of(document) }
    }

    pub(super) fn unreadable(&self, field: &str, reason: impl Into<String>) -> Unreadable {
        let handle = self.handle.map_or_else(|| "(no handle)".to_owned(), |handle| handle.to_string());
        Unreadable { handle, field: field.to_owned(), reason: reason.into() }
    }

    fn expected(&self, field: &str, wanted: &str, found: Option<RawBsonRef<'_>>) -> Unreadable {
        let found = found.map_or_else(|| "nothing".to_owned(), |value| format!("{:?}", value.element_type()));
        self.unreadable(field, format!("expected {wanted}, found {found}"))
    }

    fn get(&self, field: &str) -> Result<Option<RawBsonRef<'a>>, Unreadable> {
        self.document.get(field).map_err(|_| self.unreadable(field, NotOurs::Malformed.to_string()))
    }

    /// Like [`get`](Self::get), for a field that is optional or was added later.
    fn get_some(&self, field: &str) -> Result<Option<RawBsonRef<'a>>, Unreadable> {
        Ok(self.get(field)?.filter(|value| !matches!(value, RawBsonRef::Null)))
    }

    /// Rejects a document with a field that has none of these names.
    pub(super) fn none_but(&self, known: &[&str]) -> Result<(), Unreadable> {
        for element in self.document {
            let (name, _) = element.map_err(|_| self.unreadable("_id", NotOurs::Malformed.to_string()))?;
            if !known.contains(&name.as_str()) {
                // The name is foreign and may be of any length.
                let name: String = name.as_str().chars().take(40).collect();
                return Err(self.unreadable(&name, "this build does not know it"));
            }
        }
        Ok(())
    }

    pub(super) fn handle(&self) -> Result<Handle, Unreadable> {
        self.handle.ok_or_else(|| self.unreadable("_id", "expected 12 bytes of binary data"))
    }

    pub(super) fn date(&self, field: &str) -> Result<Timestamp, Unreadable> {
        match self.get(field)? {
            Some(RawBsonRef::DateTime(date)) => Ok(Timestamp::from_millis(date.timestamp_millis())),
            other => Err(self.expected(field, "a date", other)),
        }
    }

    pub(super) fn optional_date(&self, field: &str) -> Result<Option<Timestamp>, Unreadable> {
        self.get_some(field)?.map(|_| self.date(field)).transpose()
    }

    /// Accepts 32 bits too: a shell writes small numbers so, and documents edited by hand stay readable.
    pub(super) fn whole(&self, field: &str) -> Result<i64, Unreadable> {
        match self.get(field)? {
            Some(RawBsonRef::Int32(number)) => Ok(number.into()),
            Some(RawBsonRef::Int64(number)) => Ok(number),
            other => Err(self.expected(field, "an integer", other)),
        }
    }

    pub(super) fn count(&self, field: &str) -> Result<u64, Unreadable> {
        u64::try_from(self.whole(field)?).map_err(|_| self.unreadable(field, "expected no negative number"))
    }

    pub(super) fn optional_count(&self, field: &str) -> Result<Option<u64>, Unreadable> {
        self.get_some(field)?.map(|_| self.count(field)).transpose()
    }

    /// True, or false where it is missing.
    pub(super) fn optional_flag(&self, field: &str) -> Result<bool, Unreadable> {
        match self.get_some(field)? {
            None => Ok(false),
            Some(RawBsonRef::Boolean(flag)) => Ok(flag),
            other => Err(self.expected(field, "true or false", other)),
        }
    }

    /// A list of texts, empty where it is missing.
    pub(super) fn texts(&self, field: &str) -> Result<Vec<&'a str>, Unreadable> {
        let list = match self.get_some(field)? {
            None => return Ok(Vec::new()),
            Some(RawBsonRef::Array(list)) => list,
            other => return Err(self.expected(field, "a list of texts", other)),
        };
        let text = |value| match value {
            Ok(RawBsonRef::String(text)) => Ok(text),
            Ok(other) => Err(self.expected(field, "a list of texts", Some(other))),
            Err(_) => Err(self.unreadable(field, NotOurs::Malformed.to_string())),
        };
        list.into_iter().map(text).collect()
    }

    pub(super) fn bytes<const N: usize>(&self, field: &str) -> Result<[u8; N], Unreadable> {
        match self.get(field)? {
            Some(RawBsonRef::Binary(binary)) => {
                binary.bytes.try_into().map_err(|_| self.unreadable(field, format!("expected {N} bytes")))
            }
            other => Err(self.expected(field, "binary data", other)),
        }
    }

    pub(super) fn optional_bytes<const N: usize>(&self, field: &str) -> Result<Option<[u8; N]>, Unreadable> {
        self.get_some(field)?.map(|_| self.bytes(field)).transpose()
    }

    /// A string or null; missing is an error.
    pub(super) fn nullable_text(&self, field: &str) -> Result<Option<String>, Unreadable> {
        match self.get(field)? {
            Some(RawBsonRef::Null) => Ok(None),
            Some(RawBsonRef::String(text)) => Ok(Some(text.to_owned())),
            other => Err(self.expected(field, "text or null", other)),
        }
    }

    pub(super) fn optional_text(&self, field: &str) -> Result<Option<&'a str>, Unreadable> {
        match self.get_some(field)? {
            None => Ok(None),
            Some(RawBsonRef::String(text)) => Ok(Some(text)),
            other => Err(self.expected(field, "text", other)),
        }
    }

    pub(super) fn data(&self, field: &str) -> Result<Data, Unreadable> {
        let value = self.get(field)?.ok_or_else(|| self.expected(field, "a value", None))?;
        json::from_bson(value).map_err(|error| self.unreadable(field, error.to_string()))
    }

    pub(super) fn object(&self, field: &str) -> Result<Data, Unreadable> {
        match self.get(field)? {
            Some(RawBsonRef::Document(_)) => self.data(field),
            other => Err(self.expected(field, "a document", other)),
        }
    }
}
