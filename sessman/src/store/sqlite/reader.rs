//! Reading: threads with connections of their own, which in WAL mode never wait for the writer.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::queue::{Abandon, Queue};
use super::row::{RECORD_COLUMNS, bucket, record, record_columns, unsigned};
use crate::id::Handle;
use crate::record::Record;
use crate::store::{Listing, Page};
use crate::time::Timestamp;

/// One question to the file, which knows how to answer.
pub(super) type Query = Box<dyn FnOnce(&Connection) + Send>;

/// Opens a connection for a reading thread.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    super::tune(&connection)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Answers questions until the queue is closed.
pub(super) fn run(connection: &Connection, queue: &Queue<Query>) {
    let _abandon = Abandon(queue);
    let mut queries = Vec::with_capacity(1);
    // One at a time, so that a long question holds up none that another thread could answer.
    while queue.wait() {
        queue.take(1, &mut queries);
        for query in queries.drain(..) {
            query(connection);
        }
    }
}

/// A record, and where the file has it.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) record: Arc<Record>,
}

/// The row with that handle, live or not.
pub(super) fn load(connection: &Connection, handle: Handle) -> rusqlite::Result<Option<Row>> {
    connection
        .prepare_cached(concat!("SELECT ", record_columns!(), ", id FROM sessions WHERE handle = ?1"))?
        .query_row([handle.as_bytes()], |row| {
            Ok(Row { id: row.get(RECORD_COLUMNS)?, record: Arc::new(record(row)?) })
        })
        .optional()
}

/// What [`Store::list`](crate::store::Store::list) asks for, with the user's name owned by the question.
pub(super) struct List {
    user_id: Option<String>,
    after: Option<Handle>,
    limit: usize,
    now: Timestamp,
}

impl List {
    pub(super) fn new(listing: Listing<'_>, now: Timestamp) -> Self {
        let Listing { user_id, after, limit } = listing;
        Self { user_id: user_id.map(str::to_owned), after, limit, now }
    }

    pub(super) fn page(&self, connection: &Connection) -> rusqlite::Result<Page> {
        // Every handle is greater than the empty blob.
        let after: &[u8] = self.after.as_ref().map_or(&[], |after| after.as_bytes());
        let now = self.now.as_millis();
        // One more than asked for tells whether there is a next page.
        let count = i64::try_from(self.limit).unwrap_or(i64::MAX).saturating_add(1);
        let mut records: Vec<_> = match &self.user_id {
            None => connection
                .prepare_cached(concat!(
                    "SELECT ",
                    record_columns!(),
                    " FROM sessions WHERE handle > ?1 AND expires_at > ?2 ORDER BY handle LIMIT ?3"
                ))?
                .query_map((after, now, count), |row| record(row).map(Arc::new))?
                .collect::<rusqlite::Result<_>>()?,
            Some(user_id) => connection
                .prepare_cached(concat!(
                    "SELECT ",
                    record_columns!(),
                    " FROM sessions WHERE user_id = ?4 AND handle > ?1 AND expires_at > ?2
                      ORDER BY handle LIMIT ?3"
                ))?
                .query_map((after, now, count, user_id), |row| record(row).map(Arc::new))?
                .collect::<rusqlite::Result<_>>()?,
        };
        let more = records.len() > self.limit;
        records.truncate(self.limit);
        let next = records.last().map(|record| record.handle).filter(|_| more);
        Ok(Page { records, next })
    }
}

/// How many live rows were created at `moment` or later.
pub(super) fn count_since(
    connection: &Connection,
    now: Timestamp,
    moment: Timestamp,
) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT count(*) FROM sessions WHERE expires_at > ?1 AND created_at >= ?2")?
        .query_row((now.as_millis(), moment.as_millis()), |row| unsigned(row, 0))
}

/// A row whose bucket is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) expiry_bucket: i64,
    pub(super) id: i64,
    pub(super) expires_at: Timestamp,
}

/// At most `limit` rows whose bucket is not later than `now`, after the row `after`, in the order of bucket and id.
pub(super) fn due(
    connection: &Connection,
    now: Timestamp,
    after: Option<Due>,
    limit: usize,
) -> rusqlite::Result<Vec<Due>> {
    let (after_bucket, after_id) =
        after.map_or((i64::MIN, i64::MIN), |after| (after.expiry_bucket, after.id));
    connection
        .prepare_cached(
            "SELECT expiry_bucket, id, expires_at FROM sessions
             WHERE expiry_bucket <= ?1 AND (expiry_bucket, id) > (?2, ?3)
             ORDER BY expiry_bucket, id LIMIT ?4",
        )?
        .query_map((bucket(now), after_bucket, after_id, i64::try_from(limit).unwrap_or(i64::MAX)), |row| {
            Ok(Due {
                expiry_bucket: row.get(0)?,
                id: row.get(1)?,
                expires_at: Timestamp::from_millis(row.get(2)?),
            })
        })?
        .collect()
}
