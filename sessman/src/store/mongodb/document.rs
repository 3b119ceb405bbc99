//! A record as a document, and a change as an update.
//!
//! # Layouts
//! Documents are written as layout 1, with a field for each field of a record. Later additions are fields too: `mark`,
//! `ttl_source` and `mac`, which older builds ignore and leave as they are. In a document of layout 2 no field is ignored: a
//! build rejects it if it has an unknown field.

use std::time::Duration;

use mongodb::bson::{Bson, Document, RawDocument, doc};

use super::fields::{Fields, Unreadable};
use super::json;
use super::scalars::{binary, date, hash, id, whole};
use crate::data::Data;
use crate::id::{Handle, SecretHash};
use crate::mark::Mark;
use crate::record::{Change, Life, Mac, Outline, Record, Summary, Times, TtlSource};
use crate::store::StoreError;

/// The layout that is written; those up to [`Record::SCHEMA`] can be read.
pub(super) const LAYOUT: i64 = 1;

const CONFIGURED: &str = "configured";
const CALLER: &str = "caller";

/// All fields of a record.
const FIELDS: [&str; 17] = [
    "_id",
    "mark",
    "secret_hash",
    "user_id",
    "auth_time",
    "data",
    "metadata",
    "created_at",
    "updated_at",
    "reset_at",
    "last_activity",
    "ttl",
    "ttl_source",
    "expires_at",
    "version",
    "schema",
    "mac",
];

/// Encodes `record`.
///
/// # Errors
/// [`StoreError::Unusable`] for data that is not JSON or a number beyond 63 bits, which no record of the engine has.
pub(super) fn from_record(record: &Record) -> Result<Document, StoreError> {
    let Record {
        handle,
        mark,
        secret_hash,
        user_id,
        auth_time,
        data,
        metadata,
        created_at,
        updated_at,
        reset_at,
        last_activity,
        ttl,
        ttl_source,
        expires_at,
        version,
        mac,
    } = record;
    let mut document = doc! {
        "_id": id(*handle),
        "mark": binary(mark.as_bytes()),
        "secret_hash": hash(*secret_hash),
        "user_id": user_id.as_deref(),
        "auth_time": auth_time.map(date),
        "data": value(*handle, "data", data)?,
        "metadata": value(*handle, "metadata", metadata)?,
        "created_at": date(*created_at),
        "updated_at": date(*updated_at),
        "reset_at": date(*reset_at),
        "last_activity": date(*last_activity),
        "ttl": whole(*handle, "ttl", ttl.as_millis())?,
    };
    match ttl_source {
        TtlSource::Configured => _ = document.insert("ttl_source", CONFIGURED),
        TtlSource::Caller => _ = document.insert("ttl_source", CALLER),
        TtlSource::Unknown => {}
    }
    document.insert("expires_at", date(*expires_at));
    document.insert("version", whole(*handle, "version", *version)?);
    document.insert("schema", LAYOUT);
    if let Some(Mac(mac)) = mac {
        document.insert("mac", binary(mac));
    }
    Ok(document)
}

/// The fields of a document of a known layout.
pub(super) fn fields(document: &RawDocument) -> Result<Fields<'_>, Unreadable> {
    let fields = Fields::of(document);
    fields.handle()?;
    // First, as a later layout may have changed any other field.
    match fields.whole("schema")? {
        LAYOUT => {}
        layout if layout > LAYOUT && layout <= i64::from(Record::SCHEMA) => fields.none_but(&FIELDS)?,
        layout => {
            let reason = format!("layout {layout}; this build reads layouts 1 to {}", Record::SCHEMA);
            return Err(fields.unreadable("schema", reason));
        }
    }
    Ok(fields)
}

/// Decodes a record.
///
/// # Errors
/// The first field that is not as [`from_record`] writes it.
pub(super) fn to_record(document: &RawDocument) -> Result<Record, Unreadable> {
    let fields = fields(document)?;
    let Life { created_at, reset_at, last_activity, ttl, ttl_source, expires_at } = life(&fields)?;
    Ok(Record {
        handle: fields.handle()?,
        mark: mark(&fields)?,
        secret_hash: fields.bytes("secret_hash").map(SecretHash::from)?,
        user_id: fields.nullable_text("user_id")?,
        auth_time: fields.optional_date("auth_time")?,
        data: fields.data("data")?,
        metadata: fields.object("metadata")?,
        created_at,
        updated_at: fields.date("updated_at")?,
        reset_at,
        last_activity,
        ttl,
        ttl_source,
        expires_at,
        version: fields.count("version")?,
        mac: fields.optional_bytes("mac")?.map(Mac),
    })
}

/// A projection without what lists do not show. It excludes fields and does not include them, so that unknown fields are
/// detected.
pub(super) fn without_data() -> Document {
    doc! { "data": 0, "secret_hash": 0, "mac": 0 }
}

/// Decodes a summary; [`without_data`] is enough.
///
/// # Errors
/// As for [`to_record`].
pub(super) fn to_summary(document: &RawDocument) -> Result<Summary, Unreadable> {
    let fields = fields(document)?;
    Ok(Summary {
        handle: fields.handle()?,
        mark: mark(&fields)?,
        user_id: fields.nullable_text("user_id")?,
        auth_time: fields.optional_date("auth_time")?,
        metadata: fields.object("metadata")?,
        updated_at: fields.date("updated_at")?,
        version: fields.count("version")?,
        life: life(&fields)?,
    })
}

/// Like [`without_data`], and without metadata.
pub(super) fn without_texts() -> Document {
    doc! { "data": 0, "metadata": 0, "secret_hash": 0, "mac": 0 }
}

/// Decodes an outline; [`without_texts`] is enough.
///
/// # Errors
/// As for [`to_record`].
pub(super) fn to_outline(document: &RawDocument) -> Result<Outline, Unreadable> {
    let fields = fields(document)?;
    Ok(Outline { mark: mark(&fields)?, user_id: fields.nullable_text("user_id")?, life: life(&fields)? })
}

fn life(fields: &Fields<'_>) -> Result<Life, Unreadable> {
    Ok(Life {
        created_at: fields.date("created_at")?,
        reset_at: fields.date("reset_at")?,
        last_activity: fields.date("last_activity")?,
        ttl: Duration::from_millis(fields.count("ttl")?),
        ttl_source: match fields.optional_text("ttl_source")? {
            None => TtlSource::Unknown,
            Some(CONFIGURED) => TtlSource::Configured,
            Some(CALLER) => TtlSource::Caller,
            Some(_) => return Err(fields.unreadable("ttl_source", "this build does not know it")),
        },
        expires_at: fields.date("expires_at")?,
    })
}

fn mark(fields: &Fields<'_>) -> Result<Mark, Unreadable> {
    match fields.optional_bytes("mark")? {
        Some(bytes) => Ok(Mark::from(bytes)),
        None => fields.date("created_at").map(Mark::of_layout_1),
    }
}

/// The mark of a record, if it can be read.
pub(super) fn mark_of(document: &RawDocument) -> Option<Mark> {
    mark(&Fields::of(document)).ok()
}

/// The update for `change` in the document of `handle`.
///
/// # Errors
/// As for [`from_record`].
pub(super) fn from_change(handle: Handle, change: &Change) -> Result<Document, StoreError> {
    let Change { secret_hash, user_id, data, metadata, mac, now, times } = change;
    let Times { reset_at, last_activity, expires_at } = *times;
    let mut set = doc! {
        "reset_at": date(reset_at),
        "last_activity": date(last_activity),
        "expires_at": date(expires_at),
    };
    if let Some(secret_hash) = *secret_hash {
        set.insert("secret_hash", hash(secret_hash));
    }
    if let Some(user_id) = user_id {
        set.insert("user_id", user_id);
        set.insert("auth_time", date(*now));
    }
    // The whole value is set, never a path into it, so that no key of the application is parsed as a path.
    if let Some(data) = data {
        set.insert("data", value(handle, "data", data)?);
    }
    if let Some(metadata) = metadata {
        set.insert("metadata", value(handle, "metadata", metadata)?);
    }
    if let Some(Mac(mac)) = mac {
        set.insert("mac", binary(mac));
    }
    if !change.counts() {
        return Ok(doc! { "$set": set });
    }
    set.insert("updated_at", date(*now));
    Ok(doc! { "$set": set, "$inc": { "version": 1_i64 } })
}

fn value(handle: Handle, field: &'static str, data: &Data) -> Result<Bson, StoreError> {
    json::to_bson(data).map_err(|_| StoreError::Unusable(format!("session {handle}: {field} is not JSON")))
}

#[cfg(test)]
mod tests;
