//! `purge_expired` and `clear`: deletion in batches.

use mongodb::bson::{Bson, Document, doc};

use super::connection::Documents;
use super::failure::store_error;
use super::metrics::Command;
use super::settings::SERVER_LIMIT;
use super::{conditions, fields};
use crate::store::{Purged, Result};
use crate::time::Timestamp;

/// Documents deleted per command; well within the time limit of a call.
const SLICE: usize = 1_000;

/// See [`Store::purge_expired`](crate::store::Store::purge_expired).
pub(super) async fn purge(documents: &Documents, now: Timestamp, limit: usize) -> Result<Vec<Purged>> {
    let mut purged = Vec::new();
    while purged.len() < limit {
        let wanted = limit - purged.len();
        let (ids, records) = expired_records(documents, now, wanted).await?;
        if ids.is_empty() {
            break;
        }
        let all = ids.len() < wanted;
        // The condition again: a session extended since it was found stays.
        let mut filter = conditions::expired(now);
        filter.insert("_id", doc! { "$in": ids.clone() });
        let delete = documents.delete_many(filter);
        let deleted = documents.ask(Command::Delete, delete).await.map_err(store_error)?.deleted_count;
        // If another node or the server deleted some, or one was extended, it is unknown which; so as many are reported as were
        // deleted.
        purged.extend(records.into_iter().take(usize::try_from(deleted).unwrap_or(usize::MAX)));
        if all {
            break;
        }
    }
    Ok(purged)
}

/// At most `limit` expired documents: their `_id`s, and what to report of those that are records.
async fn expired_records(
    documents: &Documents,
    now: Timestamp,
    limit: usize,
) -> Result<(Vec<Bson>, Vec<Purged>)> {
    let find = documents
        .find(conditions::expired(now))
        .projection(doc! { "_id": 1, "user_id": 1 })
        .sort(doc! { "expires_at": 1 })
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .max_time(SERVER_LIMIT);
    let mut cursor = documents.ask(Command::Find, find).await.map_err(store_error)?;
    let (mut ids, mut records) = (Vec::new(), Vec::new());
    while cursor.advance().await.map_err(store_error)? {
        let found = cursor.current();
        if let Ok(Some(id)) = found.get("_id") {
            ids.extend(Bson::try_from(id).ok());
        }
        let user_id = found.get_str("user_id").ok().map(str::to_owned);
        records.extend(fields::handle_of(found).map(|handle| Purged { handle, user_id }));
    }
    Ok((ids, records))
}

/// Deletes one batch of the documents that match `filter`, with `_id`s in `range`. Returns how many, and the last `_id` if
/// there may be more after it.
pub(super) async fn clear(
    documents: &Documents,
    mut filter: Document,
    range: Document,
) -> Result<(u64, Option<Bson>)> {
    filter.insert("_id", range);
    let found = ids(documents, filter, SLICE).await?;
    if found.is_empty() {
        return Ok((0, None));
    }
    let last = found.last().filter(|_| found.len() == SLICE).cloned();
    let delete = documents.delete_many(doc! { "_id": { "$in": found } });
    let deleted = documents.ask(Command::Delete, delete).await.map_err(store_error)?;
    Ok((deleted.deleted_count, last))
}

/// The `_id`s of at most `limit` documents that match `filter`, in order.
async fn ids(documents: &Documents, filter: Document, limit: usize) -> Result<Vec<Bson>> {
    let find = documents
        .find(filter)
        .projection(doc! { "_id": 1 })
        .sort(doc! { "_id": 1 })
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .max_time(SERVER_LIMIT);
    let mut cursor = documents.ask(Command::Find, find).await.map_err(store_error)?;
    let mut ids = Vec::new();
    while cursor.advance().await.map_err(store_error)? {
        if let Ok(Some(id)) = cursor.current().get("_id") {
            ids.extend(Bson::try_from(id).ok());
        }
    }
    Ok(ids)
}
