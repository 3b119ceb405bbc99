//! Filters of commands.

use mongodb::bson::{Document, RawDocument, doc};

use super::document::{LAYOUT, fields, having, terms};
use super::fields::Unreadable;
use super::scalars::{binary, date, hash, id, whole};
use crate::id::{Handle, SecretHash};
use crate::mark::Mark;
use crate::record::{Record, Terms};
use crate::store::{StoreError, Target, Unless};
use crate::time::Timestamp;

/// The fields of a stored record that preconditions of a change compare.
pub(super) struct State {
    pub(super) version: u64,
    terms: Terms,
    last_activity: Timestamp,
}

impl State {
    /// The projection that [`of`](Self::of) needs.
    pub(super) fn projection() -> Document {
        doc! {
            "schema": 1,
            "version": 1,
            "ttl": 1,
            "ttl_source": 1,
            "idle": 1,
            "persistent": 1,
            "last_activity": 1,
        }
    }

    /// # Errors
    /// As for [`to_record`](super::document::to_record).
    pub(super) fn of(document: &RawDocument) -> Result<Self, Unreadable> {
        let fields = fields(document)?;
        Ok(Self {
            version: fields.count("version")?,
            terms: terms(&fields)?,
            last_activity: fields.date("last_activity")?,
        })
    }

    /// Whether the precondition `unless` still holds since `read`: the same check as that of [`Read::unchanged`] on the server.
    pub(super) fn is_unchanged(&self, read: &Read, unless: Unless) -> bool {
        let is_unchanged = self.version == read.version && self.terms == read.terms;
        match unless {
            Unless::Gone => true,
            Unless::Changed => is_unchanged,
            Unless::Written => is_unchanged && self.last_activity == read.last_activity,
        }
    }
}

/// The fields of a record that was read that preconditions of a change compare.
#[derive(Clone, Copy)]
pub(super) struct Read {
    pub(super) handle: Handle,
    mark: Mark,
    secret_hash: SecretHash,
    version: u64,
    terms: Terms,
    last_activity: Timestamp,
}

impl Read {
    pub(super) fn of(record: &Record) -> Self {
        let Record { handle, mark, secret_hash, version, last_activity, .. } = *record;
        Self { handle, mark, secret_hash, version, terms: record.terms(), last_activity }
    }

    /// The filter for the record if it is live, of the same incarnation and with the same secret.
    pub(super) fn same(&self, now: Timestamp) -> Document {
        let mut filter = doc! { "_id": id(self.handle), "expires_at": { "$gt": date(now) } };
        add_mark(&mut filter, self.mark);
        filter.insert("secret_hash", hash(self.secret_hash));
        filter
    }

    /// The same, with the precondition `unless`, and only if this build knows its layout.
    ///
    /// # Errors
    /// As for [`from_record`](super::document::from_record).
    pub(super) fn unchanged(&self, unless: Unless, now: Timestamp) -> Result<Document, StoreError> {
        let mut filter = self.same(now);
        if unless != Unless::Gone {
            filter.insert("version", whole(self.handle, "version", self.version)?);
            filter.extend(having(self.handle, &self.terms)?);
        }
        if unless == Unless::Written {
            filter.insert("last_activity", date(self.last_activity));
        }
        filter.insert("schema", doc! { "$gte": LAYOUT, "$lte": i64::from(Record::SCHEMA) });
        Ok(filter)
    }
}

/// The filter for a record that matches its target, live or not, of any layout.
pub(super) fn targeted(target: &Target) -> Document {
    let Target { handle, mark, secret_hash, last_activity, version } = *target;
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
    if let Some(version) = version {
        filter.insert("version", i64::try_from(version).unwrap_or(i64::MAX));
    }
    filter
}

/// Adds the condition that the record is this incarnation.
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

/// A filter on `_id`: handles greater than `after`. Binary data is ordered by length first, and other types come before and
/// after it, so the bounds exclude other kinds of `_id`.
pub(super) fn handles_after(after: Option<Handle>) -> Document {
    let last = id(Handle::from([0xFF; 12]));
    match after {
        Some(after) => doc! { "$gt": id(after), "$lte": last },
        None => doc! { "$gte": id(Handle::from([0; 12])), "$lte": last },
    }
}

/// The filter for records that are live at `now`.
pub(super) fn live(now: Timestamp) -> Document {
    doc! { "expires_at": { "$gt": date(now) } }
}

/// The filter for records that are expired at `now`.
pub(super) fn expired(now: Timestamp) -> Document {
    doc! { "expires_at": { "$lte": date(now) } }
}
