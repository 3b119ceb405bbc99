//! Writes to single records: create, update, delete.

use std::collections::HashMap;
use std::sync::Arc;

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Document, RawBsonRef, RawDocument, RawDocumentBuf, doc};
use mongodb::options::ReturnDocument;

use super::conditions::{self, Read, State};
use super::connection::Documents;
use super::failure::{is_duplicate_key, store_error};
use super::fields::Fields;
use super::indexes;
use super::metrics::Command;
use super::scalars::{self, date};
use super::settings::SERVER_LIMIT;
use super::{document, fields};
use crate::id::Handle;
use crate::record::Change;
use crate::store::{Created, Result, StoreError, Target, Unless, Updated};
use crate::time::Timestamp;

/// After this many conflicting records that vanish, the indexes are checked.
const VANISHED: u32 = 3;

/// Inserts, or replaces an expired record; retries until one of these succeeds or a live record is found.
pub(super) async fn create(
    documents: &Documents,
    handle: Handle,
    record: RawDocumentBuf,
    now: Timestamp,
) -> Result<Created> {
    let same_id = doc! { "_id": scalars::id(handle) };
    let mut again = documents.again();
    // The record may be deleted between the two steps, and then there is nothing to replace. If that happens repeatedly, a
    // foreign unique index may be what rejects the insert, or others create and end sessions with this id.
    let mut vanished = 0;
    loop {
        match documents.ask(Command::Insert, documents.insert_one(&record)).await {
            Ok(_) => return Ok(Created::Yes),
            Err(error) if is_duplicate_key(&error) => {}
            Err(error) => return Err(store_error(error)),
        }
        let mut dead = conditions::expired(now);
        dead.extend(same_id.clone());
        let replace = documents.replace_one(dead, &record);
        let replaced = documents.ask(Command::Update, replace).await.map_err(store_error)?;
        if replaced.matched_count == 1 {
            return Ok(Created::Yes);
        }
        let find = documents.find_one(same_id.clone()).projection(doc! { "expires_at": 1 });
        let find = find.max_time(SERVER_LIMIT);
        match documents.ask(Command::Find, find).await.map_err(store_error)? {
            None => {
                vanished += 1;
                if vanished == VANISHED && indexes::has_unique(documents).await? {
                    return Err(StoreError::Unusable(
                        "a unique index of the collection, other than that of _id, refuses sessions".into(),
                    ));
                }
                if vanished >= VANISHED {
                    again.wait().await?;
                }
            }
            Some(found) if is_expired(&found, now) => again.wait().await?,
            Some(_) => return Ok(Created::Exists),
        }
    }
}

/// The same condition as in the filter for expired records.
fn is_expired(found: &RawDocument, now: Timestamp) -> bool {
    found.get_datetime("expires_at").is_ok_and(|expires_at| expires_at <= date(now))
}

/// Applies `change` if the live record is as it was `read`.
pub(super) async fn update(
    documents: &Documents,
    read: Read,
    unless: Unless,
    change: &Change,
) -> Result<Updated> {
    let layout = match document::layout_after(change) {
        // With fields of others in it, it would be refused as a document of the later layout.
        Some(_) if has_foreign_fields(documents, read.handle).await? => None,
        layout => layout,
    };
    let mut again = documents.again();
    loop {
        // Built for each attempt: usually there is only one, and so nothing is copied.
        let filter = read.unchanged(unless, change.now)?;
        let update = document::from_change(read.handle, change, layout)?;
        // Returns the record before the change: this has the old expiry, and the caller knows the rest.
        let update = documents
            .find_one_and_update(filter, update)
            .return_document(ReturnDocument::Before)
            .max_time(SERVER_LIMIT);
        let changed = documents.ask(Command::FindAndModify, update).await.map_err(store_error)?;
        if let Some(before) = changed {
            let before = document::to_record(&before)?;
            let record = Arc::new(change.applied_to(&before));
            return Ok(Updated::Done { record, lived_until: before.expires_at });
        }
        let find =
            documents.find_one(read.same(change.now)).projection(State::projection()).max_time(SERVER_LIMIT);
        let Some(found) = documents.ask(Command::Find, find).await.map_err(store_error)? else {
            return Ok(Updated::Missing);
        };
        let state = State::of(&found)?;
        if !state.is_unchanged(&read, unless) {
            return Ok(Updated::Conflict(state.version));
        }
        again.wait().await?;
    }
}

async fn has_foreign_fields(documents: &Documents, handle: Handle) -> Result<bool> {
    // Without the texts, which may be large.
    let find = documents.find_one(doc! { "_id": scalars::id(handle) }).projection(document::without_texts());
    let found = documents.ask(Command::Find, find.max_time(SERVER_LIMIT)).await.map_err(store_error)?;
    Ok(found.is_some_and(|found| document::has_foreign_fields(&found)))
}

/// Deletes one record if it matches its target.
pub(super) async fn delete_one(documents: &Documents, target: Target) -> Result<bool> {
    let filter = conditions::targeted(&target);
    let delete = documents.delete_one(filter.clone());
    // The driver retries a delete of one if its connection broke, but not a delete of many.
    let mut deleted = documents.ask(Command::Delete, delete).await.map_err(store_error)?;
    let mut again = documents.again();
    while deleted.deleted_count == 0 {
        let find = documents.find_one(filter.clone()).projection(doc! { "_id": 1 }).max_time(SERVER_LIMIT);
        if documents.ask(Command::Find, find).await.map_err(store_error)?.is_none() {
            return Ok(false);
        }
        again.wait().await?;
        let delete = documents.delete_many(filter.clone());
        deleted = documents.ask(Command::Delete, delete).await.map_err(store_error)?;
    }
    Ok(true)
}

/// Deletes the records that match their targets; returns which ones.
pub(super) async fn delete_many(documents: &Documents, targets: &[Target]) -> Result<Vec<Handle>> {
    let found = identities(documents, targets).await?;
    let is_as_found = |target: &&Target| found.get(&target.handle).is_some_and(|found| found.is(target));
    let mut there: Vec<Target> = targets.iter().filter(is_as_found).copied().collect();
    let mut deleted = Vec::new();
    let mut again = documents.again();
    while !there.is_empty() {
        let any: Vec<Document> = there.iter().map(conditions::targeted).collect();
        let delete = documents.delete_many(doc! { "$or": any });
        let count = documents.ask(Command::Delete, delete).await.map_err(store_error)?.deleted_count;
        if usize::try_from(count) == Ok(there.len()) {
            deleted.extend(there.iter().map(|target| target.handle));
            break;
        }
        let found = identities(documents, &there).await?;
        let mut left = Vec::new();
        for target in there {
            match found.get(&target.handle) {
                None => deleted.push(target.handle),
                Some(found) if found.is(&target) => left.push(target),
                // It was written to, or is another session now.
                Some(_) => {}
            }
        }
        there = left;
        if !there.is_empty() {
            again.wait().await?;
        }
    }
    Ok(deleted)
}

/// The fields that [`conditions::targeted`] compares; of unreadable documents too.
struct Identity(RawDocumentBuf);

impl Identity {
    fn projection() -> Document {
        doc! { "mark": 1, "created_at": 1, "secret_hash": 1, "last_activity": 1, "version": 1 }
    }

    fn is(&self, target: &Target) -> bool {
        let Target { handle: _, mark, secret_hash, last_activity, version } = target;
        mark.is_none_or(|mark| document::mark_of(&self.0) == Some(mark))
            && secret_hash.is_none_or(|secret_hash| self.has("secret_hash", secret_hash.as_bytes()))
            && last_activity.is_none_or(|moment| {
                self.0.get_datetime("last_activity").is_ok_and(|found| found == date(moment))
            })
            && version.is_none_or(|version| {
                Fields::of(&self.0).count("version").is_ok_and(|found| found == version)
            })
    }

    fn has(&self, field: &str, bytes: &[u8]) -> bool {
        matches!(self.0.get(field), Ok(Some(RawBsonRef::Binary(found)))
            if found.subtype == BinarySubtype::Generic && found.bytes == bytes)
    }
}

/// The stored fields under the handles of these targets.
async fn identities(documents: &Documents, targets: &[Target]) -> Result<HashMap<Handle, Identity>> {
    let ids = scalars::ids(targets.iter().map(|target| target.handle));
    let find = documents.find(doc! { "_id": { "$in": ids } }).projection(Identity::projection());
    let mut cursor = documents.ask(Command::Find, find.max_time(SERVER_LIMIT)).await.map_err(store_error)?;
    let mut found = HashMap::new();
    while cursor.advance().await.map_err(store_error)? {
        let document = cursor.current();
        if let Some(handle) = fields::handle_of(document) {
            found.insert(handle, Identity(document.to_owned()));
        }
    }
    Ok(found)
}
