//! A record as a document, and a change as an update.
//!
//! # Layouts
//! Most documents are written as layout 1, with a field for each field of a record. Later additions are fields too: `mark`,
//! `ttl_source` and `mac`, which older builds ignore and leave as they are. In a document of layout 2 no field is ignored: a
//! build rejects it if it has an unknown field. So a record with `idle`, `persistent` or `labels` is written as layout 2.

use std::time::Duration;

use mongodb::bson::{Bson, Document, RawDocument, doc};

use super::fields::{Fields, Unreadable};
use super::json;
use super::scalars::{binary, date, hash, id, whole};
use crate::data::Data;
use crate::id::{Handle, SecretHash};
use crate::labels::{Label, Labels};
use crate::mark::Mark;
use crate::record::{Change, Life, Mac, Outline, Record, Summary, Terms, Times, TtlSource};
use crate::store::StoreError;

/// The oldest layout; those up to [`Record::SCHEMA`] can be read.
pub(super) const LAYOUT: i64 = 1;

const CONFIGURED: &str = "configured";
const CALLER: &str = "caller";

/// All fields of a record.
const FIELDS: [&str; 20] = [
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
    "idle",
    "persistent",
    "labels",
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
        idle,
        persistent,
        labels,
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
    if let Some(source) = source(*ttl_source) {
        document.insert("ttl_source", source);
    }
    if let Some(idle) = idle {
        document.insert("idle", whole(*handle, "idle", idle.as_millis())?);
    }
    if *persistent {
        document.insert("persistent", true);
    }
    if !labels.is_empty() {
        document.insert("labels", texts(labels));
    }
    document.insert("expires_at", date(*expires_at));
    document.insert("version", whole(*handle, "version", *version)?);
    let is_layout_1 = idle.is_none() && !*persistent && labels.is_empty();
    document.insert("schema", if is_layout_1 { LAYOUT } else { i64::from(Record::SCHEMA) });
    if let Some(Mac(mac)) = mac {
        document.insert("mac", binary(mac));
    }
    Ok(document)
}

fn source(ttl_source: TtlSource) -> Option<&'static str> {
    match ttl_source {
        TtlSource::Configured => Some(CONFIGURED),
        TtlSource::Caller => Some(CALLER),
        TtlSource::Unknown => None,
    }
}

/// Labels as the field holds them: texts `name:value`, so that an index over the field finds each.
fn texts(labels: &Labels) -> Vec<String> {
    labels.iter().map(Label::to_string).collect()
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
    let Life { created_at, reset_at, last_activity, ttl, ttl_source, idle, expires_at } = life(&fields)?;
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
        idle,
        persistent: persistent(&fields)?,
        labels: labels(&fields)?,
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
        persistent: persistent(&fields)?,
        labels: labels(&fields)?,
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
    let Terms { ttl, ttl_source, idle, persistent: _ } = terms(fields)?;
    Ok(Life {
        created_at: fields.date("created_at")?,
        reset_at: fields.date("reset_at")?,
        last_activity: fields.date("last_activity")?,
        ttl,
        ttl_source,
        idle,
        expires_at: fields.date("expires_at")?,
    })
}

/// Decodes the terms.
pub(super) fn terms(fields: &Fields<'_>) -> Result<Terms, Unreadable> {
    Ok(Terms {
        ttl: Duration::from_millis(fields.count("ttl")?),
        ttl_source: match fields.optional_text("ttl_source")? {
            None => TtlSource::Unknown,
            Some(CONFIGURED) => TtlSource::Configured,
            Some(CALLER) => TtlSource::Caller,
            Some(_) => return Err(fields.unreadable("ttl_source", "this build does not know it")),
        },
        idle: fields.optional_count("idle")?.map(Duration::from_millis),
        persistent: persistent(fields)?,
    })
}

fn persistent(fields: &Fields<'_>) -> Result<bool, Unreadable> {
    fields.optional_flag("persistent")
}

fn labels(fields: &Fields<'_>) -> Result<Labels, Unreadable> {
    let labels = fields.texts("labels")?;
    let labels: Result<Vec<Label>, _> = labels.into_iter().map(Label::parse).collect();
    labels.and_then(Labels::from_list).map_err(|error| fields.unreadable("labels", error.to_string()))
}

fn mark(fields: &Fields<'_>) -> Result<Mark, Unreadable> {
    match fields.optional_bytes("mark")? {
        Some(bytes) => Ok(Mark::from(bytes)),
        None => fields.date("created_at").map(Mark::of_layout_1),
    }
}

/// The filter for a record with these terms.
///
/// # Errors
/// As for [`from_record`].
pub(super) fn having(handle: Handle, terms: &Terms) -> Result<Document, StoreError> {
    let Terms { ttl, ttl_source, idle, persistent } = *terms;
    // `null` matches a missing field, too.
    let idle = idle.map(|idle| whole(handle, "idle", idle.as_millis())).transpose()?;
    Ok(doc! {
        "ttl": whole(handle, "ttl", ttl.as_millis())?,
        "ttl_source": source(ttl_source),
        "idle": idle,
        "persistent": if persistent { Bson::Boolean(true) } else { Bson::Null },
    })
}

/// The mark of a record, if it can be read.
pub(super) fn mark_of(document: &RawDocument) -> Option<Mark> {
    mark(&Fields::of(document)).ok()
}

/// The layout that the document needs after `change`, if that is not the oldest.
pub(super) fn layout_after(change: &Change) -> Option<i64> {
    let has_terms = change.terms.is_some_and(|terms| terms.idle.is_some() || terms.persistent);
    let has_labels = change.labels.as_ref().is_some_and(|labels| !labels.is_empty());
    (has_terms || has_labels).then_some(i64::from(Record::SCHEMA))
}

/// Whether the document has a field that none of ours is, which only the oldest layout allows.
pub(super) fn has_foreign_fields(document: &RawDocument) -> bool {
    Fields::of(document).none_but(&FIELDS).is_err()
}

/// The update for `change` in the document of `handle`; with `layout`, the document has that one afterwards.
///
/// # Errors
/// As for [`from_record`].
pub(super) fn from_change(
    handle: Handle,
    change: &Change,
    layout: Option<i64>,
) -> Result<Document, StoreError> {
    let Change { secret_hash, user_id, data, metadata, terms, labels, mac, now, times } = change;
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
    let mut unset = Document::new();
    let mut put = |field: &str, value: Option<Bson>| match value {
        Some(value) => _ = set.insert(field, value),
        None => _ = unset.insert(field, ""),
    };
    if let Some(Terms { ttl, ttl_source, idle, persistent }) = *terms {
        put("ttl", Some(whole(handle, "ttl", ttl.as_millis())?.into()));
        put("ttl_source", source(ttl_source).map(Bson::from));
        let idle = idle.map(|idle| whole(handle, "idle", idle.as_millis())).transpose()?;
        put("idle", idle.map(Bson::from));
        put("persistent", persistent.then_some(Bson::Boolean(true)));
    }
    if let Some(labels) = labels {
        put("labels", (!labels.is_empty()).then(|| texts(labels).into()));
    }
    if let Some(Mac(mac)) = mac {
        put("mac", Some(binary(mac).into()));
    }
    if let Some(layout) = layout {
        put("schema", Some(layout.into()));
    }
    if change.counts() {
        put("updated_at", Some(date(*now).into()));
    }
    let mut update = doc! { "$set": set };
    if !unset.is_empty() {
        update.insert("$unset", unset);
    }
    if change.counts() {
        update.insert("$inc", doc! { "version": 1_i64 });
    }
    Ok(update)
}

fn value(handle: Handle, field: &'static str, data: &Data) -> Result<Bson, StoreError> {
    json::to_bson(data).map_err(|_| StoreError::Unusable(format!("session {handle}: {field} is not JSON")))
}

#[cfg(test)]
mod tests;
