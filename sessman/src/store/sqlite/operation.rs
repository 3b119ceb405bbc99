//! The writes of the store, each a step within the writer's transaction.
//!
//! Each is one statement, or several of which any prefix is valid. SQLite rolls back a failed statement by itself. So a
//! failed write leaves nothing behind, and the others in its transaction are unaffected.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _};

use super::cache::{Withheld, Written};
use super::failure::store_error;
use super::file::OwnedFile;
use super::reader::{Due, Row, load};
use super::row::{
    BUCKET_MILLIS, Renewed, bucket, insert, is_unreadable, overwrite, overwrite_labels, remove_expired,
};
use crate::id::Handle;
use crate::labels::Labels;
use crate::record::{Change, Record};
use crate::store::{Created, Purged, StoreError, Unless, Updated};
use crate::time::{Clock, Timestamp};

/// Why a write was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Several writes that are committed together (group commit).
pub(super) struct Transaction<'a> {
    pub(super) connection: &'a Connection,
    pub(super) file: &'a OwnedFile,
    pub(super) clock: &'a dyn Clock,
    pub(super) withheld: Withheld<'a>,
}

impl Transaction<'_> {
    /// The row with this handle, live or not.
    fn row(&self, handle: Handle) -> Result<Option<Row>, Failure> {
        if let Some(row) = self.withheld.row(handle) {
            return Ok(Some(row));
        }
        load(self.connection, handle).map_err(|error| match is_unreadable(&error) {
            // The file is intact, and nothing was written to it.
            true => Failure::Store(store_error(self.file.path(), &Arc::new(error))),
            false => Failure::Sqlite(error),
        })
    }
}

/// A write, run on the writer thread for one caller.
pub(super) trait Operation: Send + 'static {
    /// The caller's result, sent after the commit.
    type Output: Send + 'static;

    /// Makes the write, and adds each record that it changed to the withheld ones: readers could get the old state of a record
    /// that is not added. It may run again after its transaction was rolled back.
    fn execute(&self, transaction: &mut Transaction<'_>) -> Result<Self::Output, Failure>;

    /// Memory in bytes that it holds while it is queued, without its own size.
    fn bytes(&self) -> usize {
        0
    }
}

/// [`Store::create`](crate::store::Store::create).
pub(super) struct Create {
    pub(super) record: Arc<Record>,
    pub(super) now: Timestamp,
}

impl Operation for Create {
    type Output = Created;

    fn execute(&self, transaction: &mut Transaction<'_>) -> Result<Created, Failure> {
        let Transaction { connection, withheld, .. } = transaction;
        let mut id = insert(connection, &self.record)?;
        if id.is_none() && remove_expired(connection, self.record.handle, self.now)? {
            id = insert(connection, &self.record)?;
        }
        let Some(id) = id else { return Ok(Created::Exists) };
        withheld.add(Written::Put(Row { id, has_tail: true, record: self.record.clone() }));
        Ok(Created::Yes)
    }

    fn bytes(&self) -> usize {
        self.record.bytes()
    }
}

/// Reads the record under a handle, after all writes queued before.
pub(super) struct Look {
    pub(super) handle: Handle,
}

impl Operation for Look {
    type Output = Option<Arc<Record>>;

    fn execute(&self, transaction: &mut Transaction<'_>) -> Result<Option<Arc<Record>>, Failure> {
        Ok(transaction.row(self.handle)?.map(|row| row.record))
    }
}

/// [`Store::update`](crate::store::Store::update).
pub(super) struct Update {
    /// The fields of the read record that `unless` compares; its texts do not matter.
    read: Record,
    unless: Unless,
    change: Change,
}

impl Update {
    pub(super) fn new(read: &Record, unless: Unless, change: &Change) -> Self {
        let (data, metadata) = (read.data.clone(), read.metadata.clone());
        Self {
            read: Record { user_id: None, data, metadata, labels: Labels::none(), ..*read },
            unless,
            change: change.clone(),
        }
    }
}

impl Operation for Update {
    type Output = Updated;

    fn execute(&self, transaction: &mut Transaction<'_>) -> Result<Updated, Failure> {
        // `overwrite` writes the whole changed record, so every field of the change is covered.
        let Change {
            now,
            secret_hash: _,
            user_id: _,
            data: _,
            metadata: _,
            terms: _,
            labels: _,
            mac: _,
            times: _,
        } = &self.change;
        // There is one writer: what is read here cannot change before the write.
        let Some(old) = transaction.row(self.read.handle)? else { return Ok(Updated::Missing) };
        match self.unless.is_met(&self.read, &old.record).filter(|_| old.record.is_live(*now)) {
            None => return Ok(Updated::Missing),
            Some(false) => return Ok(Updated::Conflict(old.record.version)),
            Some(true) => {}
        }
        let record = Arc::new(self.change.applied_to(&old.record));
        // A bucket may be too early, never too late; the row's bucket is that of its record, or earlier.
        let is_due_earlier = bucket(record.expires_at) < bucket(old.record.expires_at);
        let renewed = Renewed {
            index: is_due_earlier || record.user_id != old.record.user_id,
            tail: !old.has_tail || self.change.changes_tail(),
        };
        transaction.withheld.add(Written::Put(Row { id: old.id, has_tail: true, record: record.clone() }));
        // The write may have been queued for long, and a reader may have seen the session as expired meanwhile. Later readers
        // wait for this write: see `load`.
        if !old.record.is_live(transaction.clock.now()) {
            transaction.withheld.add(Written::Put(old));
            return Ok(Updated::Missing);
        }
        overwrite(transaction.connection, old.id, &record, renewed)?;
        // Lists read the labels of the record: a row left over by a failure in between is skipped.
        if record.labels != old.record.labels {
            overwrite_labels(transaction.connection, &record)?;
        }
        Ok(Updated::Done { record, lived_until: old.record.expires_at })
    }

    fn bytes(&self) -> usize {
        let Change {
            data,
            metadata,
            secret_hash: _,
            user_id: _,
            terms: _,
            labels: _,
            mac: _,
            now: _,
            times: _,
        } = &self.change;
        [data, metadata].into_iter().flatten().map(|text| text.as_str().len()).sum()
    }
}

/// A batch of [`Store::purge_expired`](crate::store::Store::purge_expired): deletes the rows that have expired, and moves
/// the others to the bucket in which they will.
pub(super) struct Sweep {
    pub(super) rows: Vec<Due>,
    pub(super) now: Timestamp,
}

impl Operation for Sweep {
    type Output = Vec<Purged>;

    fn execute(&self, transaction: &mut Transaction<'_>) -> Result<Vec<Purged>, Failure> {
        let Transaction { connection, withheld, .. } = transaction;
        // A row may have been extended, deleted or replaced since it was found, so each statement checks again.
        let mut delete = connection.prepare_cached(
            "DELETE FROM sessions WHERE id = ?1 AND expires_at <= ?2 RETURNING handle, user_id",
        )?;
        let mut postpone =
            connection.prepare_cached("UPDATE sessions SET expiry_bucket = expires_at / ?2 WHERE id = ?1")?;
        let mut deleted: Vec<Purged> = Vec::new();
        for row in &self.rows {
            if row.expires_at <= self.now {
                let purged = delete.query_row((row.id, self.now.as_millis()), |row| {
                    // Deleted whether it can be read or not, and reported if it can.
                    let handle = row.get::<_, [u8; 12]>(0).map(Handle::from).ok();
                    Ok(handle.map(|handle| Purged { handle, user_id: row.get(1).unwrap_or_default() }))
                });
                deleted.extend(purged.optional()?.flatten());
            } else {
                postpone.execute((row.id, BUCKET_MILLIS))?;
            }
        }
        deleted.iter().for_each(|purged| withheld.add(Written::Gone(purged.handle)));
        Ok(deleted)
    }
}

/// [`Store::clear`](crate::store::Store::clear).
pub(super) struct Clear;

impl Operation for Clear {
    type Output = u64;

    fn execute(&self, transaction: &mut Transaction<'_>) -> Result<u64, Failure> {
        let records = transaction.connection.execute("DELETE FROM sessions", [])?;
        transaction.withheld.add(Written::AllGone);
        transaction.connection.execute("DELETE FROM claims", [])?;
        transaction.connection.execute("DELETE FROM labels", [])?;
        Ok(records as u64)
    }
}

/// A part of [`Clear`]: deletes this many records, in any order; returns their number.
pub(super) struct ClearSome {
    pub(super) most: usize,
}

impl Operation for ClearSome {
    type Output = u64;

    fn execute(&self, transaction: &mut Transaction<'_>) -> Result<u64, Failure> {
        let records = transaction
            .connection
            .prepare_cached(
                "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions ORDER BY id LIMIT ?1)",
            )?
            .execute([i64::try_from(self.most).unwrap_or(i64::MAX)])?;
        transaction.withheld.add(Written::AllGone);
        Ok(records as u64)
    }
}

/// [`Store::ping`](crate::store::Store::ping): the writer has a write transaction, and the file is still in place.
pub(super) struct Ping;

impl Operation for Ping {
    type Output = ();

    fn execute(&self, transaction: &mut Transaction<'_>) -> Result<(), Failure> {
        Ok(transaction.file.check_in_place()?)
    }
}

/// Incremental vacuum: returns unused pages at the end of the file to the file system, after moving others into their place.
pub(super) struct GiveBack {
    /// The most pages.
    pub(super) pages: u64,
}

impl Operation for GiveBack {
    type Output = ();

    fn execute(&self, transaction: &mut Transaction<'_>) -> Result<(), Failure> {
        // Each step of the statement frees one page.
        let mut statement =
            transaction.connection.prepare(&format!("PRAGMA incremental_vacuum({})", self.pages))?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        Ok(())
    }
}
