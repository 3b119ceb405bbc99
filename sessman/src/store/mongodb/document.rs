//! A record as a document, and a change as an update of one.

use std::time::Duration;

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, RawBsonRef, RawDocument, doc};

use super::json::{self, NotOurs};
use crate::data::Data;
use crate::id::{Handle, SecretHash};
use crate::record::{Change, Record, Times};
use crate::store::{Expected, StoreError};
use crate::time::Timestamp;

/// Why a document of the collection is no record of ours.
#[derive(Debug, thiserror::Error)]
#[error("the document of session {handle} cannot be read: {field}: {reason}")]
pub(super) struct Unreadable {
    handle: String,
    field: &'static str,
    reason: String,
}

impl From<Unreadable> for StoreError {
    fn from(unreadable: Unreadable) -> Self {
        Self::Unusable(unreadable.to_string())
    }
}

/// The document that holds `record`.
///
/// # Errors
/// [`StoreError::Unusable`] for data that is not JSON or a number beyond 63 bits, which no record of the engine has.
pub(super) fn from_record(record: &Record) -> Result<Document, StoreError> {
    Ok(doc! {
        "_id": id(record.handle),
        "secret_hash": hash(record.secret_hash),
        "user_id": record.user_id.as_deref(),
        "auth_time": record.auth_time.map(date),
        "data": value(record.handle, "data", &record.data)?,
        "metadata": value(record.handle, "metadata", &record.metadata)?,
        "created_at": date(record.created_at),
        "updated_at": date(record.updated_at),
        "reset_at": date(record.reset_at),
        "last_activity": date(record.last_activity),
        "ttl": whole(record.handle, "ttl", record.ttl.as_millis())?,
        "expires_at": date(record.expires_at),
        "version": whole(record.handle, "version", record.version)?,
        "schema": whole(record.handle, "schema", Record::SCHEMA)?,
    })
}

/// The record that `document` holds.
///
/// # Errors
/// The first field that is not as [`from_record`] writes it.
pub(super) fn to_record(document: &RawDocument) -> Result<Record, Unreadable> {
    let handle = handle_of(document);
    let fields = Fields { document, handle };
    let Some(handle) = handle else {
        return Err(fields.unreadable("_id", "expected 12 bytes of binary data"));
    };
    // First, because a later layout may have changed any of the others.
    let schema = fields.whole("schema")?;
    if schema != i64::from(Record::SCHEMA) {
        let reason = format!("layout {schema}; this build reads layout {}", Record::SCHEMA);
        return Err(fields.unreadable("schema", reason));
    }
    Ok(Record {
        handle,
        secret_hash: fields.hash("secret_hash")?,
        user_id: fields.optional_text("user_id")?,
        auth_time: fields.optional_date("auth_time")?,
        data: fields.data("data")?,
        metadata: fields.object("metadata")?,
        created_at: fields.date("created_at")?,
        updated_at: fields.date("updated_at")?,
        reset_at: fields.date("reset_at")?,
        last_activity: fields.date("last_activity")?,
        ttl: Duration::from_millis(fields.count("ttl")?),
        expires_at: fields.date("expires_at")?,
        version: fields.count("version")?,
    })
}

/// The handle of a document, if its `_id` is one.
pub(super) fn handle_of(document: &RawDocument) -> Option<Handle> {
    let Ok(Some(RawBsonRef::Binary(id))) = document.get("_id") else { return None };
    let bytes: [u8; 12] = id.bytes.try_into().ok()?;
    (id.subtype == BinarySubtype::Generic).then(|| Handle::from(bytes))
}

/// The update that makes `change` in the document of `handle`.
///
/// # Errors
/// As [`from_record`].
pub(super) fn from_change(handle: Handle, change: &Change) -> Result<Document, StoreError> {
    let Times { reset_at, last_activity, expires_at } = change.times;
    let mut set = doc! {
        "reset_at": date(reset_at),
        "last_activity": date(last_activity),
        "expires_at": date(expires_at),
    };
    if let Some(secret_hash) = change.secret_hash {
        set.insert("secret_hash", hash(secret_hash));
    }
    if let Some(user_id) = &change.user_id {
        set.insert("user_id", user_id);
        set.insert("auth_time", date(change.now));
    }
    // The whole value is set, never a path into it, so that no key of the application's is read as one.
    if let Some(data) = &change.data {
        set.insert("data", value(handle, "data", data)?);
    }
    if let Some(metadata) = &change.metadata {
        set.insert("metadata", value(handle, "metadata", metadata)?);
    }
    if !change.counts() {
        return Ok(doc! { "$set": set });
    }
    set.insert("updated_at", date(change.now));
    Ok(doc! { "$set": set, "$inc": { "version": 1_i64 } })
}

/// The filter for the live record of `handle`.
pub(super) fn live(handle: Handle, now: Timestamp) -> Document {
    doc! { "_id": id(handle), "expires_at": { "$gt": date(now) } }
}

/// The filter for the live record of `handle`, if it is as `expected`.
///
/// # Errors
/// As [`from_record`].
pub(super) fn expected(handle: Handle, expected: Expected, now: Timestamp) -> Result<Document, StoreError> {
    let mut filter = live(handle, now);
    filter.insert("secret_hash", hash(expected.secret_hash));
    if let Some(version) = expected.version {
        filter.insert("version", whole(handle, "version", version)?);
    }
    if let Some(moment) = expected.last_activity {
        filter.insert("last_activity", date(moment));
    }
    Ok(filter)
}

/// A handle as `_id`.
pub(super) fn id(handle: Handle) -> Binary {
    binary(handle.as_bytes())
}

/// A secret's hash as it is stored.
pub(super) fn hash(secret_hash: SecretHash) -> Binary {
    binary(secret_hash.as_bytes())
}

/// A moment as it is stored.
pub(super) fn date(timestamp: Timestamp) -> DateTime {
    DateTime::from_millis(timestamp.as_millis())
}

fn binary(bytes: &[u8]) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() }
}

fn value(handle: Handle, field: &'static str, data: &Data) -> Result<Bson, StoreError> {
    json::to_bson(data).map_err(|_| StoreError::Unusable(format!("session {handle}: {field} is not JSON")))
}

fn whole(handle: Handle, field: &'static str, number: impl TryInto<i64>) -> Result<i64, StoreError> {
    number
        .try_into()
        .map_err(|_| StoreError::Unusable(format!("session {handle}: {field} is too large a number")))
}

/// Reads the fields of a document, whatever they turn out to be.
struct Fields<'a> {
    document: &'a RawDocument,
    handle: Option<Handle>,
}

impl<'a> Fields<'a> {
    fn unreadable(&self, field: &'static str, reason: impl Into<String>) -> Unreadable {
        let handle = self.handle.map_or_else(|| "(no handle)".to_owned(), |handle| handle.to_string());
        Unreadable { handle, field, reason: reason.into() }
    }

    fn get(&self, field: &'static str) -> Result<Option<RawBsonRef<'a>>, Unreadable> {
        self.document.get(field).map_err(|_| self.unreadable(field, NotOurs::Malformed.to_string()))
    }

    fn expected(&self, field: &'static str, wanted: &str, found: Option<RawBsonRef<'_>>) -> Unreadable {
        let found = found.map_or_else(|| "nothing".to_owned(), |value| format!("{:?}", value.element_type()));
        self.unreadable(field, format!("expected {wanted}, found {found}"))
    }

    fn date(&self, field: &'static str) -> Result<Timestamp, Unreadable> {
        match self.get(field)? {
            Some(RawBsonRef::DateTime(date)) => Ok(Timestamp::from_millis(date.timestamp_millis())),
            other => Err(self.expected(field, "a date", other)),
        }
    }

    /// A field that came later than others may be missing.
    fn optional_date(&self, field: &'static str) -> Result<Option<Timestamp>, Unreadable> {
        match self.get(field)? {
            None | Some(RawBsonRef::Null) => Ok(None),
            Some(_) => self.date(field).map(Some),
        }
    }

    /// A shell writes small numbers in 32 bits: what was edited by hand stays readable.
    fn whole(&self, field: &'static str) -> Result<i64, Unreadable> {
        match self.get(field)? {
            Some(RawBsonRef::Int32(number)) => Ok(number.into()),
            Some(RawBsonRef::Int64(number)) => Ok(number),
            other => Err(self.expected(field, "an integer", other)),
        }
    }

    fn count(&self, field: &'static str) -> Result<u64, Unreadable> {
        u64::try_from(self.whole(field)?).map_err(|_| self.unreadable(field, "expected no negative number"))
    }

    fn hash(&self, field: &'static str) -> Result<SecretHash, Unreadable> {
        match self.get(field)? {
            Some(RawBsonRef::Binary(binary)) => <[u8; 32]>::try_from(binary.bytes)
                .map(SecretHash::from)
                .map_err(|_| self.unreadable(field, "expected 32 bytes")),
            other => Err(self.expected(field, "binary data", other)),
        }
    }

    fn optional_text(&self, field: &'static str) -> Result<Option<String>, Unreadable> {
        match self.get(field)? {
            Some(RawBsonRef::Null) => Ok(None),
            Some(RawBsonRef::String(text)) => Ok(Some(text.to_owned())),
            other => Err(self.expected(field, "text or null", other)),
        }
    }

    fn data(&self, field: &'static str) -> Result<Data, Unreadable> {
        let value = self.get(field)?.ok_or_else(|| self.expected(field, "a value", None))?;
        json::from_bson(value).map_err(|error| self.unreadable(field, error.to_string()))
    }

    fn object(&self, field: &'static str) -> Result<Data, Unreadable> {
        match self.get(field)? {
            Some(RawBsonRef::Document(_)) => self.data(field),
            other => Err(self.expected(field, "a document", other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use mongodb::bson::RawDocumentBuf;

    use super::*;

    fn record() -> Record {
        Record {
            handle: Handle::from([7; 12]),
            secret_hash: SecretHash::from([9; 32]),
            user_id: Some("ada".into()),
            auth_time: None,
            data: Data::parse(r#"{"b":1,"a.b":{"$set":[1.0,null]}}"#).unwrap(),
            metadata: Data::empty(),
            created_at: Timestamp::from_millis(1_000),
            updated_at: Timestamp::from_millis(2_000),
            reset_at: Timestamp::from_millis(3_000),
            last_activity: Timestamp::from_millis(4_000),
            ttl: Duration::from_millis(5_000),
            expires_at: Timestamp::from_millis(8_000),
            version: 3,
        }
    }

    fn read(document: &Document) -> Result<Record, Unreadable> {
        to_record(&RawDocumentBuf::try_from(document).unwrap())
    }

    #[test]
    fn a_record_is_read_back() {
        let known = Record { auth_time: Some(Timestamp::from_millis(6_000)), ..record() };
        for record in [record(), known, Record { user_id: None, ..record() }] {
            assert_eq!(read(&from_record(&record).unwrap()).unwrap(), record);
        }
        // Written before there was a time of a login.
        let mut document = from_record(&record()).unwrap();
        document.remove("auth_time");
        assert_eq!(read(&document).unwrap(), record());
    }

    #[test]
    fn a_shell_shows_the_handle_in_the_id() {
        let handle = Handle::parse("AbCdEf0123456-_9").unwrap();
        // What `BinData(0, "...")` shows, and takes.
        assert_eq!(STANDARD.encode(id(handle).bytes), "AbCdEf0123456+/9");
    }

    #[test]
    fn foreign_documents_are_refused_with_handle_and_field() {
        let good = from_record(&record()).unwrap();
        let handle = Handle::from([7; 12]).to_string();
        let cases: [(&str, Option<Bson>, &str); 13] = [
            ("auth_time", Some("yesterday".into()), "a date"),
            ("_id", Some("text".into()), "12 bytes"),
            ("schema", Some(2_i64.into()), "layout 2"),
            ("schema", None, "found nothing"),
            ("secret_hash", Some(Bson::Binary(binary(&[1; 31]))), "32 bytes"),
            ("user_id", Some(5.into()), "text or null"),
            ("data", None, "a value"),
            ("data", Some(Bson::DateTime(DateTime::from_millis(1))), "DateTime"),
            ("metadata", Some("text".into()), "a document"),
            ("created_at", Some("yesterday".into()), "found String"),
            ("ttl", Some((-1).into()), "negative"),
            ("expires_at", Some(5_i64.into()), "a date"),
            ("version", Some(1.0.into()), "an integer"),
        ];
        for (field, value, reason) in cases {
            let mut document = good.clone();
            match value {
                Some(value) => document.insert(field, value),
                None => document.remove(field),
            };
            let error = StoreError::from(read(&document).unwrap_err()).to_string();
            assert!(error.contains(&format!("{field}: ")) && error.contains(reason), "{error}");
            assert!(field == "_id" || error.contains(&handle), "{error}");
        }
        assert!(to_record(&RawDocumentBuf::new()).is_err());
    }

    #[test]
    fn a_touch_sets_the_times_and_counts_nothing() {
        let now = Timestamp::from_millis(9_000);
        let times = Times { reset_at: now, last_activity: now, expires_at: now };
        let touch = Change::touch(now, times);
        let update = from_change(Handle::from([7; 12]), &touch).unwrap();
        assert!(!update.contains_key("$inc"));
        let set: Vec<_> = update.get_document("$set").unwrap().keys().cloned().collect();
        assert_eq!(set, ["reset_at", "last_activity", "expires_at"]);

        let write = Change { data: Some(record().data), ..touch };
        let update = from_change(Handle::from([7; 12]), &write).unwrap();
        assert_eq!(update.get_document("$inc").unwrap(), &doc! { "version": 1_i64 });
        assert_eq!(update.get_document("$set").unwrap().get("updated_at"), Some(&Bson::DateTime(date(now))));
    }
}
