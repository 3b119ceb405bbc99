//! Reads of many records: lists of sessions, whole records for a backup, outlines.
//!
//! A page is read in batches. Each is a `find` of as many documents as the space left is expected to hold, so that a page
//! takes about [`PAGE_BYTES`] of memory, whatever the size of the documents. Each `find` names the index for its order:
//! otherwise some servers sort all documents of a user, or the whole collection.

use std::collections::HashMap;
use std::sync::Arc;

use mongodb::Cursor;
use mongodb::action::Find;
use mongodb::bson::{Document, RawDocument, RawDocumentBuf, doc};
use mongodb::options::Hint;

use super::conditions;
use super::connection::Documents;
use super::document;
use super::failure::{is_refused_hint, store_error};
use super::fields::{self, Unreadable};
use super::indexes::{LABELS, USER_HANDLES, WANTED};
use super::metrics::Command;
use super::scalars::{self, date};
use super::settings::SERVER_LIMIT;
use crate::id::Handle;
use crate::labels::Label;
use crate::record::{Record, Summary};
use crate::store::{Outlined, PAGE_BYTES, Page, Result};
use crate::time::Timestamp;

/// The most documents per batch.
const MOST: usize = 1_000;

/// The parameters of a page.
pub(super) struct Wanted {
    pub(super) user_id: Option<String>,
    pub(super) label: Option<Label>,
    pub(super) after: Option<Handle>,
    pub(super) limit: usize,
    pub(super) now: Timestamp,
}

impl Wanted {
    /// Includes documents without a date in `expires_at`: they are ours, and unreadable.
    fn filter(&self, after: Option<Handle>) -> Document {
        let mut filter = doc! { "_id": conditions::handles_after(after) };
        if let Some(user_id) = &self.user_id {
            filter.insert("user_id", user_id);
        }
        if let Some(label) = &self.label {
            filter.insert("labels", label.to_string());
        }
        filter.insert("expires_at", doc! { "$not": { "$lte": date(self.now) } });
        filter
    }

    /// The position in [`WANTED`] of the index with its order; `None` for that of `_id`, which every collection has.
    fn index(&self) -> Option<usize> {
        match (&self.user_id, &self.label) {
            (Some(_), _) => Some(USER_HANDLES),
            (None, Some(_)) => Some(LABELS),
            (None, None) => None,
        }
    }
}

/// How to read the records of a page.
struct Reading<T> {
    /// Documents in the first batch, when their size is still unknown.
    first: usize,
    projection: Option<Document>,
    read: fn(&RawDocument) -> std::result::Result<T, Unreadable>,
    bytes: fn(&T) -> usize,
}

/// See [`Store::list`](crate::store::Store::list).
pub(super) async fn list(documents: &Documents, wanted: Wanted) -> Result<Page<Summary>> {
    let reading = Reading {
        first: 101,
        projection: Some(document::without_data()),
        read: document::to_summary,
        bytes: Summary::bytes,
    };
    page(documents, wanted, reading).await
}

/// See [`Store::records`](crate::store::Store::records).
pub(super) async fn records(documents: &Documents, wanted: Wanted) -> Result<Page<Arc<Record>>> {
    let reading = Reading {
        first: 8,
        projection: None,
        read: |document| document::to_record(document).map(Arc::new),
        bytes: |record: &Arc<Record>| record.bytes(),
    };
    page(documents, wanted, reading).await
}

async fn page<T>(documents: &Documents, wanted: Wanted, reading: Reading<T>) -> Result<Page<T>> {
    let mut page = Page::default();
    // Unreadable documents count as items of the page too, so that it ends however many there are.
    let (mut last, mut taken, mut bytes) = (wanted.after, 0, 0);
    let mut slice = reading.first;
    loop {
        // One more than fits shows whether there is a next page.
        let asked = slice.min(wanted.limit.saturating_add(1) - taken);
        let mut cursor = find(documents, &wanted, last, asked, &reading.projection).await?;
        let mut found = 0;
        while cursor.advance().await.map_err(store_error)? {
            let Some(handle) = fields::handle_of(cursor.current()) else { continue };
            if taken == wanted.limit || bytes >= PAGE_BYTES {
                page.next = last;
                return Ok(page);
            }
            match (reading.read)(cursor.current()) {
                Ok(item) => {
                    bytes += (reading.bytes)(&item);
                    page.items.push(item);
                }
                Err(unreadable) => {
                    tracing::warn!(%unreadable, "a document of the session collection is left out");
                    page.unread.push(handle);
                }
            }
            (last, taken, found) = (Some(handle), taken + 1, found + 1);
        }
        if found < asked {
            return Ok(page);
        }
        slice = (PAGE_BYTES.saturating_sub(bytes) / (bytes / taken).max(1) + 1).min(MOST);
    }
}

/// Finds this many documents after `after`.
async fn find(
    documents: &Documents,
    wanted: &Wanted,
    after: Option<Handle>,
    limit: usize,
    projection: &Option<Document>,
) -> Result<Cursor<RawDocumentBuf>> {
    let find = || -> Find<'_, RawDocumentBuf> {
        let find = documents
            .find(wanted.filter(after))
            .sort(doc! { "_id": 1 })
            .limit(i64::try_from(limit).unwrap_or(i64::MAX))
            // More than the limit: a batch that is exactly full would leave the cursor open.
            .batch_size(u32::try_from(limit + 1).unwrap_or(u32::MAX))
            .max_time(SERVER_LIMIT);
        match projection {
            Some(projection) => find.projection(projection.clone()),
            None => find,
        }
    };
    let index = wanted.index();
    if index.is_none_or(|index| documents.hints().are_taken(index)) {
        let keys = index.map_or_else(|| doc! { "_id": 1 }, |index| WANTED[index].key_document());
        match (documents.ask(Command::Find, find().hint(Hint::Keys(keys))).await, index) {
            // The index is created at the start of a service that may create it, which takes a while for a large collection.
            (Err(error), Some(index)) if is_refused_hint(&error) => {
                documents.hints().set_taken(index, false);
            }
            (answer, _) => return answer.map_err(store_error),
        }
    }
    documents.ask(Command::Find, find()).await.map_err(store_error)
}

/// See [`Store::outlines`](crate::store::Store::outlines).
pub(super) async fn outlines(documents: &Documents, handles: &[Handle]) -> Result<Vec<Outlined>> {
    let find = documents
        .find(doc! { "_id": { "$in": scalars::ids(handles.iter().copied()) } })
        .projection(document::without_texts())
        .max_time(SERVER_LIMIT);
    let mut cursor = documents.ask(Command::Find, find).await.map_err(store_error)?;
    let mut found = HashMap::new();
    while cursor.advance().await.map_err(store_error)? {
        let document = cursor.current();
        if let Some(handle) = fields::handle_of(document) {
            let outlined = document::to_outline(document).map_or(Outlined::Unreadable, Outlined::Found);
            found.insert(handle, outlined);
        }
    }
    let outlined = |handle: &Handle| found.get(handle).cloned().unwrap_or(Outlined::Missing);
    Ok(handles.iter().map(outlined).collect())
}
