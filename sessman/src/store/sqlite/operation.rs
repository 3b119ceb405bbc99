//! The writes that a store makes, each of which is one step within the writer's transaction.
//!
//! Each changes the file in one statement, or in several of which any number may stay: SQLite undoes a failed
//! statement by itself, so one write that fails leaves nothing behind and the others of its transaction untouched.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _};

use super::cache::Written;
use super::file::OwnedFile;
use super::reader::{Due, row};
use super::row::{BUCKET_MILLIS, bucket, insert, overwrite};
use crate::id::{Handle, SecretHash};
use crate::record::{Change, Record};
use crate::store::{Created, Expected, Purged, StoreError, Updated};
use crate::time::Timestamp;

/// Why a write was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the writing thread does for one caller.
pub(super) trait Operation: Send + 'static {
    /// What the caller hears once it is committed.
    type Output: Send + 'static;

    /// Makes the write. It may be called again after its transaction was rolled back.
    fn execute(&self, connection: &Connection, file: &OwnedFile) -> Result<Self::Output, Failure>;

    /// Which records it changed; one that is not named here may be answered with as it was before.
    fn written(&self, output: &Self::Output) -> Vec<Written>;
}

/// [`Store::create`](crate::store::Store::create).
pub(super) struct Create {
    pub(super) record: Arc<Record>,
    pub(super) now: Timestamp,
}

impl Operation for Create {
    type Output = Created;

    fn execute(&self, connection: &Connection, _: &OwnedFile) -> Result<Created, Failure> {
        match insert(connection, &self.record, self.now)? {
            0 => Ok(Created::Exists),
            _ => Ok(Created::Yes),
        }
    }

    fn written(&self, output: &Created) -> Vec<Written> {
        match output {
            Created::Yes => vec![Written::Put(self.record.clone())],
            Created::Exists => Vec::new(),
        }
    }
}

/// [`Store::update`](crate::store::Store::update).
pub(super) struct Update {
    pub(super) handle: Handle,
    pub(super) expected: Expected,
    pub(super) change: Change,
}

impl Operation for Update {
    type Output = Updated;

    fn execute(&self, connection: &Connection, _: &OwnedFile) -> Result<Updated, Failure> {
        // Nobody else writes: what is read here is still so when it is written.
        let Some(old) = row(connection, self.handle)? else { return Ok(Updated::Missing) };
        match self.expected.is_met_by(&old.record).filter(|_| old.record.is_live(self.change.now)) {
            None => return Ok(Updated::Missing),
            Some(false) => return Ok(Updated::Conflict(old.record.version)),
            Some(true) => {}
        }
        let record = self.change.applied_to(&old.record);
        // A bucket may be too early, never too late.
        let reindex = record.user_id != old.record.user_id || bucket(record.expires_at) < old.expiry_bucket;
        overwrite(connection, old.id, &record, reindex)?;
        Ok(Updated::Done(Arc::new(record)))
    }

    fn written(&self, output: &Updated) -> Vec<Written> {
        match output {
            Updated::Done(record) => vec![Written::Put(record.clone())],
            Updated::Conflict(_) | Updated::Missing => Vec::new(),
        }
    }
}

/// [`Store::delete`](crate::store::Store::delete).
pub(super) struct Delete {
    pub(super) handle: Handle,
    pub(super) secret_hash: Option<SecretHash>,
}

impl Operation for Delete {
    type Output = bool;

    fn execute(&self, connection: &Connection, _: &OwnedFile) -> Result<bool, Failure> {
        if let Some(secret_hash) = self.secret_hash {
            // Compared here and not in SQL, where the time it takes would tell how much of the hash is right.
            let stored = row(connection, self.handle)?;
            if stored.is_none_or(|stored| stored.record.secret_hash != secret_hash) {
                return Ok(false);
            }
        }
        let deleted = connection
            .prepare_cached("DELETE FROM sessions WHERE handle = ?1")?
            .execute([self.handle.as_bytes()])?;
        Ok(deleted > 0)
    }

    fn written(&self, output: &bool) -> Vec<Written> {
        if *output { vec![Written::Gone(self.handle)] } else { Vec::new() }
    }
}

/// A slice of [`Store::purge_expired`](crate::store::Store::purge_expired): deletes those of the rows that have
/// expired, and puts the others into the bucket in which they will.
pub(super) struct Sweep {
    pub(super) rows: Vec<Due>,
    pub(super) now: Timestamp,
}

impl Operation for Sweep {
    type Output = Vec<Purged>;

    fn execute(&self, connection: &Connection, _: &OwnedFile) -> Result<Vec<Purged>, Failure> {
        // A row may have been extended, deleted or replaced since it was found: each statement looks again.
        let mut delete = connection.prepare_cached(
            "DELETE FROM sessions WHERE id = ?1 AND expires_at <= ?2 RETURNING handle, user_id",
        )?;
        let mut postpone =
            connection.prepare_cached("UPDATE sessions SET expiry_bucket = expires_at / ?2 WHERE id = ?1")?;
        let mut deleted = Vec::new();
        for row in &self.rows {
            if row.expires_at <= self.now {
                let purged = delete.query_row((row.id, self.now.as_millis()), |row| {
                    Ok(Purged { handle: Handle::from(row.get::<_, [u8; 12]>(0)?), user_id: row.get(1)? })
                });
                deleted.extend(purged.optional()?);
            } else {
                postpone.execute((row.id, BUCKET_MILLIS))?;
            }
        }
        Ok(deleted)
    }

    fn written(&self, output: &Vec<Purged>) -> Vec<Written> {
        output.iter().map(|purged| Written::Gone(purged.handle)).collect()
    }
}

/// [`Store::clear`](crate::store::Store::clear).
pub(super) struct Clear;

impl Operation for Clear {
    type Output = u64;

    fn execute(&self, connection: &Connection, _: &OwnedFile) -> Result<u64, Failure> {
        let records = connection.execute("DELETE FROM sessions", [])?;
        connection.execute("DELETE FROM claims", [])?;
        Ok(records as u64)
    }

    fn written(&self, _: &u64) -> Vec<Written> {
        vec![Written::AllGone]
    }
}

/// [`Store::ping`](crate::store::Store::ping): the writer has its write transaction, and the file is where it was.
pub(super) struct Ping;

impl Operation for Ping {
    type Output = ();

    fn execute(&self, _: &Connection, file: &OwnedFile) -> Result<(), Failure> {
        Ok(file.check_in_place()?)
    }

    fn written(&self, (): &()) -> Vec<Written> {
        Vec::new()
    }
}

/// Cuts unused pages off the end of the file, moving others into their place.
pub(super) struct GiveBack {
    /// How many, at most.
    pub(super) pages: u64,
}

impl Operation for GiveBack {
    type Output = ();

    fn execute(&self, connection: &Connection, _: &OwnedFile) -> Result<(), Failure> {
        // A step of it frees one page.
        let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({})", self.pages))?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        Ok(())
    }

    fn written(&self, (): &()) -> Vec<Written> {
        Vec::new()
    }
}
