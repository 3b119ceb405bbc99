//! Reader threads, each with its own connection, which in WAL mode never waits for the writer.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _};

use super::queue::{Abandon, Queue};
use super::row::{RECORD_COLUMNS, bucket, has_tail, record, record_columns};
use crate::id::Handle;
use crate::record::Record;
use crate::time::Timestamp;

/// A query with its reply channel.
pub(super) type Query = Box<dyn FnOnce(&Connection) + Send>;

/// Runs queries until the queue is closed.
pub(super) fn run(connection: &Connection, queue: &Queue<Query>) {
    let _abandon = Abandon(queue);
    let mut queries = Vec::with_capacity(1);
    // One at a time, so that a long query does not delay others that another thread could run.
    while queue.wait() {
        queue.take(1, &mut queries);
        for query in queries.drain(..) {
            query(connection);
        }
    }
}

/// A record and its row id in the file.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) id: i64,
    /// A row from an older file has no tail until it is written.
    pub(super) has_tail: bool,
    pub(super) record: Arc<Record>,
}

pub(super) const LOAD: &str = concat!("SELECT ", record_columns!(), ", id FROM sessions WHERE handle = ?1");

/// The row with this handle, live or not.
pub(super) fn load(connection: &Connection, handle: Handle) -> rusqlite::Result<Option<Row>> {
    connection
        .prepare_cached(LOAD)?
        .query_row([handle.as_bytes()], |row| {
            let (id, has_tail) = (row.get(RECORD_COLUMNS)?, has_tail(row)?);
            Ok(Row { id, has_tail, record: Arc::new(record(row)?) })
        })
        .optional()
}

/// A row whose bucket is due for the clean-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) expiry_bucket: i64,
    pub(super) id: i64,
    pub(super) expires_at: Timestamp,
}

pub(super) const DUE: &str = "
    SELECT expiry_bucket, id, expires_at FROM sessions
    WHERE expiry_bucket <= ?1 AND (expiry_bucket, id) > (?2, ?3)
    ORDER BY expiry_bucket, id LIMIT ?4";

/// At most `limit` rows whose bucket is not later than `now`, after the row `after`, ordered by bucket and id.
pub(super) fn due(
    connection: &Connection,
    now: Timestamp,
    after: Option<Due>,
    limit: usize,
) -> rusqlite::Result<Vec<Due>> {
    let (after_bucket, after_id) =
        after.map_or((i64::MIN, i64::MIN), |after| (after.expiry_bucket, after.id));
    connection
        .prepare_cached(DUE)?
        .query_map((bucket(now), after_bucket, after_id, i64::try_from(limit).unwrap_or(i64::MAX)), |row| {
            Ok(Due {
                expiry_bucket: row.get(0)?,
                id: row.get(1)?,
                expires_at: Timestamp::from_millis(row.get(2)?),
            })
        })?
        .collect()
}
