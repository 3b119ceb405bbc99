//! A record as a document, and a change as an update of one.
//!
//! # Layouts
//! Documents are written as layout 1, which has one field for each of a record. What came later than its first version
//! are fields too: `mark`, `ttl_source` and `mac`, which a build that does not know them passes over and leaves as they
//! are. In a document of layout 2 no field is passed over: one with a field that this build does not know is refused.

use std::time::Duration;

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, RawDocument, doc};

use super::fields::Fields;
pub(super) use super::fields::{Unreadable, handle_of};
use super::json;
use crate::data::Data;
use crate::id::{Handle, SecretHash};
use crate::mark::Mark;
use crate::record::{Change, Life, Mac, Outline, Record, Summary, Times, TtlSource};
use crate::store::{StoreError, Target, Unless};
use crate::time::Timestamp;

/// The layout that is written; those up to [`Record::SCHEMA`] are read.
const LAYOUT: i64 = 1;

const CONFIGURED: &str = "configured";
const CALLER: &str = "caller";

/// Every field that a record may have.
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

/// The document that holds `record`.
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

/// The fields of a document whose layout this build reads.
fn fields(document: &RawDocument) -> Result<Fields<'_>, Unreadable> {
    let fields = Fields::of(document);
    fields.handle()?;
    // First, because a later layout may have changed any of the others.
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

/// The record that `document` holds.
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

/// What leaves out of a document what no list shows. What it does not name comes, so that a field which this build does not
/// know is seen.
pub(super) fn without_data() -> Document {
    doc! { "data": 0, "secret_hash": 0, "mac": 0 }
}

/// What lists show of the record, of whose document [`without_data`] is enough.
///
/// # Errors
/// As [`to_record`].
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

/// As [`without_data`], and without metadata.
pub(super) fn without_texts() -> Document {
    doc! { "data": 0, "metadata": 0, "secret_hash": 0, "mac": 0 }
}

/// What is known of the record where it is counted; [`without_texts`] is enough.
///
/// # Errors
/// As [`to_record`].
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

/// What of a stored record decides whether a change to it is made.
pub(super) struct State {
    pub(super) version: u64,
    last_activity: Timestamp,
}

impl State {
    /// The fields that [`of`](Self::of) reads.
    pub(super) fn projection() -> Document {
        doc! { "schema": 1, "version": 1, "last_activity": 1 }
    }

    /// # Errors
    /// As [`to_record`].
    pub(super) fn of(document: &RawDocument) -> Result<Self, Unreadable> {
        let fields = fields(document)?;
        Ok(Self { version: fields.count("version")?, last_activity: fields.date("last_activity")? })
    }

    /// Whether nothing happened since `read` that `unless` names, as [`unchanged`] asks the server.
    pub(super) fn is_unchanged(&self, read: &Read, unless: Unless) -> bool {
        match unless {
            Unless::Gone => true,
            Unless::Changed => self.version == read.version,
            Unless::Written => self.last_activity == read.last_activity,
        }
    }
}

/// What of a record that was read decides whether a change to it is made.
#[derive(Clone, Copy)]
pub(super) struct Read {
    pub(super) handle: Handle,
    mark: Mark,
    secret_hash: SecretHash,
    version: u64,
    last_activity: Timestamp,
}

impl Read {
    pub(super) fn of(record: &Record) -> Self {
        let Record { handle, mark, secret_hash, version, last_activity, .. } = *record;
        Self { handle, mark, secret_hash, version, last_activity }
    }

    /// The filter for the record while it lives and is the same incarnation with the same secret.
    pub(super) fn same(&self, now: Timestamp) -> Document {
        let mut filter = doc! { "_id": id(self.handle), "expires_at": { "$gt": date(now) } };
        add_mark(&mut filter, self.mark);
        filter.insert("secret_hash", hash(self.secret_hash));
        filter
    }

    /// The same, if nothing happened to it since then that `unless` names and this build knows its layout.
    ///
    /// # Errors
    /// As [`from_record`].
    pub(super) fn unchanged(&self, unless: Unless, now: Timestamp) -> Result<Document, StoreError> {
        let mut filter = self.same(now);
        match unless {
            Unless::Gone => {}
            Unless::Changed => {
                filter.insert("version", whole(self.handle, "version", self.version)?);
            }
            Unless::Written => {
                filter.insert("last_activity", date(self.last_activity));
            }
        }
        filter.insert("schema", doc! { "$gte": LAYOUT, "$lte": i64::from(Record::SCHEMA) });
        Ok(filter)
    }
}

/// The update that makes `change` in the document of `handle`.
///
/// # Errors
/// As [`from_record`].
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
    // The whole value is set, never a path into it, so that no key of the application's is read as one.
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

/// The filter for a record, live or not and of whatever layout, that is what its target says.
pub(super) fn targeted(target: &Target) -> Document {
    let Target { handle, mark, secret_hash, last_activity } = *target;
    let mut filter = doc! { "_id": id(handle) };
    if let Some(mark) = mark {
        add_mark(&mut filter, mark);
    }
    if let Some(secret_hash) = secret_hash {
        filter.insert("secret_hash", hash(secret_hash));
    }
    if let Some(moment) = last_activity {
        filter.insert("last_activity", date(moment));
    }
    filter
}

/// Adds that the record is that incarnation.
fn add_mark(filter: &mut Document, mark: Mark) {
    let bytes = binary(mark.as_bytes());
    if mark.is_of_layout_1() {
        let created_at = Timestamp::from_millis(i64::from_be_bytes(*mark.as_bytes()));
        filter.insert(
            "$or",
            vec![doc! { "mark": bytes }, doc! { "mark": null, "created_at": date(created_at) }],
        );
    } else {
        filter.insert("mark", bytes);
    }
}

/// The handle that an `_id` is.
pub(super) fn handle_in(id: &Bson) -> Option<Handle> {
    let Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes }) = id else { return None };
    <[u8; 12]>::try_from(&bytes[..]).ok().map(Handle::from)
}

/// Handles as `_id`s.
pub(super) fn ids(handles: impl IntoIterator<Item = Handle>) -> Vec<Binary> {
    handles.into_iter().map(id).collect()
}

/// A condition on `_id`: a handle greater than `after`. Binary data is ordered by length first and comes before and
/// after other types, so the bounds leave `_id`s of other kinds out.
pub(super) fn handles_after(after: Option<Handle>) -> Document {
    let last = id(Handle::from([0xFF; 12]));
    match after {
        Some(after) => doc! { "$gt": id(after), "$lte": last },
        None => doc! { "$gte": id(Handle::from([0; 12])), "$lte": last },
    }
}

/// The filter for records that live at `now`.
pub(super) fn live(now: Timestamp) -> Document {
    doc! { "expires_at": { "$gt": date(now) } }
}

/// The filter for records that are past their time at `now`.
pub(super) fn expired(now: Timestamp) -> Document {
    doc! { "expires_at": { "$lte": date(now) } }
}

/// A handle as `_id`.
pub(super) fn id(handle: Handle) -> Binary {
    binary(handle.as_bytes())
}

fn hash(secret_hash: SecretHash) -> Binary {
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

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use mongodb::bson::RawDocumentBuf;

    use super::*;

    fn record() -> Record {
        Record {
            handle: Handle::from([7; 12]),
            mark: Mark::from([3; 8]),
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
            ttl_source: TtlSource::Configured,
            expires_at: Timestamp::from_millis(8_000),
            version: 3,
            mac: None,
        }
    }

    fn read(document: &Document) -> Result<Record, Unreadable> {
        to_record(&RawDocumentBuf::try_from(document).unwrap())
    }

    #[test]
    fn a_record_is_read_back() {
        let known = Record { auth_time: Some(Timestamp::from_millis(6_000)), ..record() };
        let sealed = Record { mac: Some(Mac([8; 32])), ttl_source: TtlSource::Caller, ..record() };
        for record in [record(), known, Record { user_id: None, ..record() }, sealed] {
            let document = from_record(&record).unwrap();
            assert_eq!(read(&document).unwrap(), record);
            assert!(document.keys().all(|field| FIELDS.contains(&field.as_str())));
            let raw = RawDocumentBuf::try_from(&document).unwrap();
            assert_eq!(to_summary(&raw).unwrap(), record.summary());
            assert_eq!(to_outline(&raw).unwrap(), record.outline());
        }
    }

    #[test]
    fn what_came_later_may_be_missing() {
        let mut document = from_record(&record()).unwrap();
        for field in ["auth_time", "mark", "ttl_source"] {
            document.remove(field);
        }
        let mark = Mark::of_layout_1(record().created_at);
        assert_eq!(read(&document).unwrap(), Record { mark, ttl_source: TtlSource::Unknown, ..record() });
    }

    #[test]
    fn a_field_that_is_not_known_is_passed_over_in_layout_1_alone() {
        let mut document = from_record(&record()).unwrap();
        document.insert("shard", "eu");
        assert_eq!(read(&document).unwrap(), record());
        document.insert("schema", 2);
        let error = read(&document).unwrap_err().to_string();
        assert!(error.contains("shard: this build does not know it"), "{error}");
        document.remove("shard");
        assert_eq!(read(&document).unwrap(), record());
    }

    #[test]
    fn a_condition_names_the_incarnation() {
        let target = |mark| targeted(&Target::incarnation(Handle::from([7; 12]), mark));
        let marked = target(Mark::from([3; 8]));
        assert_eq!(marked.get("mark"), Some(&Bson::Binary(binary(&[3; 8]))));
        let of_layout_1 = target(Mark::of_layout_1(Timestamp::from_millis(1_000)));
        let by_beginning = doc! { "mark": null, "created_at": date(Timestamp::from_millis(1_000)) };
        assert!(of_layout_1.get_array("$or").unwrap().contains(&by_beginning.into()));
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
        let cases: [(&str, Option<Bson>, &str); 17] = [
            ("auth_time", Some("yesterday".into()), "a date"),
            ("_id", Some("text".into()), "12 bytes"),
            ("schema", Some(3_i64.into()), "layout 3"),
            ("schema", Some(0.into()), "layout 0"),
            ("mark", Some(Bson::Binary(binary(&[1; 7]))), "8 bytes"),
            ("ttl_source", Some("nobody".into()), "does not know"),
            ("mac", Some("text".into()), "binary data"),
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
