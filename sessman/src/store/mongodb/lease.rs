//! Leader election for the clean-up.
//!
//! A document in the users' collection, `{_id: {lease: "cleanup"}, holder: ObjectId, turn: 1}`. Its holder renews the lease
//! by incrementing `turn`. Another node takes the lease over once it has seen the same turn for longer than a period, by its
//! own monotonic clock: clocks of different machines are never compared. Meanwhile there may be no leader, or two if the
//! holder was only stalled. Both are harmless, as the clean-up is idempotent.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, RawDocument, RawDocumentBuf, doc};

use super::connection::Documents;
use super::failure::{is_duplicate_key, store_error};
use super::metrics::Command;
use super::settings::SERVER_LIMIT;
use crate::store::{Result, StoreError};

/// A node's view of the lease.
pub(super) struct Lease {
    node: ObjectId,
    seen: Mutex<Option<Seen>>,
}

/// The holder and turn last seen, and since when this node has seen them.
#[derive(Clone, Copy)]
struct Seen {
    holder: ObjectId,
    turn: i64,
    since: Instant,
}

impl Lease {
    pub(super) fn new(node: ObjectId) -> Self {
        Self { node, seen: Mutex::new(None) }
    }

    /// See [`Store::leads_cleanup`](crate::store::Store::leads_cleanup).
    pub(super) async fn is_held(&self, entries: &Documents, period: Duration) -> Result<bool> {
        let next = doc! { "$set": { "holder": self.node }, "$inc": { "turn": 1_i64 } };
        if take(entries, doc! { "_id": id(), "holder": self.node }, next.clone()).await? {
            return Ok(true);
        }
        let find = entries.find_one(doc! { "_id": id() }).max_time(SERVER_LIMIT);
        let Some(found) = entries.ask(Command::Find, find).await.map_err(store_error)? else {
            return insert(entries, self.node).await;
        };
        let (holder, turn) = read(&found)?;
        if holder == self.node {
            return Ok(true);
        }
        if self.time_since(holder, turn) <= period {
            return Ok(false);
        }
        take(entries, doc! { "_id": id(), "holder": holder, "turn": turn }, next).await
    }

    /// How long this node has seen this turn.
    fn time_since(&self, holder: ObjectId, turn: i64) -> Duration {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = *seen
            && (seen.holder, seen.turn) == (holder, turn)
        {
            return seen.since.elapsed();
        }
        *seen = Some(Seen { holder, turn, since: Instant::now() });
        Duration::ZERO
    }
}

/// A document, which no user id is.
fn id() -> Document {
    doc! { "lease": "cleanup" }
}

async fn take(entries: &Documents, filter: Document, update: Document) -> Result<bool> {
    let take = entries.find_one_and_update(filter, update).max_time(SERVER_LIMIT);
    let taken = entries.ask(Command::FindAndModify, take).await.map_err(store_error)?;
    Ok(taken.is_some())
}

/// Creates the lease; `false` if another node was faster.
async fn insert(entries: &Documents, node: ObjectId) -> Result<bool> {
    let lease = RawDocumentBuf::try_from(&doc! { "_id": id(), "holder": node, "turn": 1_i64 })
        .map_err(|_| StoreError::Unusable("a lease that BSON cannot hold".into()))?;
    match entries.ask(Command::Insert, entries.insert_one(lease)).await {
        Ok(_) => Ok(true),
        Err(error) if is_duplicate_key(&error) => Ok(false),
        Err(error) => Err(store_error(error)),
    }
}

fn read(lease: &RawDocument) -> Result<(ObjectId, i64)> {
    let unreadable = |_| {
        StoreError::Unusable(
            "the lease in the users' collection, _id {lease: \"cleanup\"}, cannot be read".into(),
        )
    };
    Ok((lease.get_object_id("holder").map_err(unreadable)?, lease.get_i64("turn").map_err(unreadable)?))
}
