//! `ping`: whether sessions can be created, changed and deleted; a server may reject each separately (a full disk, a quota, a
//! role).
//!
//! It writes a document of its own into the collection of the sessions. Its `_id` is an ObjectId, so that it is never taken
//! for a session. It is already expired, so that the TTL index removes one that is left behind.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{RawDocumentBuf, doc};

use super::connection::Documents;
use super::failure::{is_duplicate_key, store_error};
use super::metrics::Command;
use super::scalars::date;
use super::settings::SERVER_LIMIT;
use crate::store::{Result, StoreError};
use crate::time::Timestamp;

/// Creates, changes and deletes the document of `node`, with the commands that sessions use. Concurrent pings of one node may
/// see each other's steps.
pub(super) async fn ping(documents: &Documents, node: ObjectId) -> Result<()> {
    let same = doc! { "_id": node };
    let probe = doc! { "_id": node, "expires_at": date(Timestamp::from_millis(0)), "probe": 0 };
    let probe = RawDocumentBuf::try_from(&probe)
        .map_err(|_| StoreError::Unusable("a document that BSON cannot hold".into()))?;
    match documents.ask(Command::Insert, documents.insert_one(probe)).await {
        Err(error) if !is_duplicate_key(&error) => return Err(store_error(error)),
        _ => {}
    }
    let change = documents.find_one_and_update(same.clone(), doc! { "$inc": { "probe": 1 } });
    let change = change.max_time(SERVER_LIMIT);
    documents.ask(Command::FindAndModify, change).await.map_err(store_error)?;
    documents.ask(Command::Delete, documents.delete_one(same)).await.map_err(store_error)?;
    Ok(())
}
