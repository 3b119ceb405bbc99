//! The store in a SQLite file: embedded, nothing to install, and an answered write is on disk.
//!
//! One thread writes and groups the writes that wait into one commit; others read beside it. One process owns the
//! file, by a lock on it.
//!
//! - `file`: the file on disk and its lock
//! - `schema`: its layout, and how it is recognised
//! - `row`: a record as a row
//! - `cache`: records in front of the file
//! - `queue`: between callers and threads; `budget`: how much memory what waits may take
//! - `reader`, `writer`, `checkpoint`: the threads; `operation`, `claims`: what the writer does
//! - `answers`: from the writer to its callers
//! - `view`: a file that another process may own, to read from
//! - `health`: whether the disk can be trusted; `room`: what is kept of it for when it is full; `overdue`: a log that grows
//! - `metrics`: what is shown of them
//! - `failure`: SQLite's errors in the contract's terms

mod answers;
mod budget;
mod cache;
mod checkpoint;
mod claims;
mod failure;
mod file;
mod health;
mod metrics;
mod operation;
mod overdue;
mod queue;
mod reader;
mod room;
mod row;
mod schema;
#[cfg(test)]
mod tests;
mod view;
mod writer;

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::oneshot;

use self::answers::Answers;
use self::budget::{Budget, MAX_WAITING_BYTES, Share};
use self::cache::Cache;
use self::checkpoint::Checkpoints;
use self::claims::{ForgetClaims, Release, TakePlace, TidyClaims};
use self::failure::{opening_error, store_error};
use self::file::OwnedFile;
use self::health::Health;
use self::operation::{Clear, Create, Delete, GiveBack, Operation, Ping, Sweep, Update};
use self::queue::{Queue, Refused};
use self::reader::{Due, List, Query};
use self::room::Room;
use self::schema::SchemaError;
pub use self::view::SqliteView;
pub use self::writer::WriteCounts;
use self::writer::{Call, Counters, Job, Writer};
use super::{
    Checkup, Claim, Claimed, Counts, Created, Expected, Listing, Loaded, Page, Purged, Result, Store,
    StoreError, Updated,
};
use crate::id::{Handle, SecretHash};
use crate::record::{Change, Record};
use crate::time::Timestamp;

/// Threads that read: while one lists or counts, another answers.
const READERS: usize = 2;

/// Calls that may wait for the writer, and as many for the readers; more than they do within a request's deadline.
const MAX_WAITING: usize = 4_096;

/// How long a connection waits for others to let go of the file or its log.
const BUSY: Duration = Duration::from_secs(1);

/// Rows that clean-up looks at, and changes, at a time: the writes that wait meanwhile are held up a few
/// milliseconds.
const SLICE: usize = 250;

/// Rows that it changes at a time where the log of a full disk has no room for more.
const FEW: usize = 10;

/// How long clean-up leaves the writer to others between two slices of one call.
const PAUSE: Duration = Duration::from_millis(20);

/// Unused pages that are cut off the file in one go; each costs a page that is moved.
const PAGES: u64 = 64;

/// When a write counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// When it is on disk: an answered write survives a loss of power.
    #[default]
    Full,
    /// When the operating system has it: an answered write survives the end of this process. A loss of power may
    /// take the last ones, and leaves the file whole.
    Normal,
}

/// How to keep sessions in a SQLite file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteConfig {
    /// The file. It is made if it is missing, its folder is not.
    pub path: PathBuf,
    /// When a write counts as done.
    pub durability: Durability,
    /// Memory for records in front of the file, in bytes; 0 for none.
    pub cache_bytes: usize,
}

/// Room for about 100,000 sessions with 200 bytes of data.
pub const CACHE_BYTES: usize = 64 << 20;

/// Sessions in a SQLite file that this process owns.
pub struct SqliteStore {
    path: PathBuf,
    jobs: Arc<Queue<Box<dyn Job>>>,
    budget: Arc<Budget>,
    answers: Arc<Answers>,
    queries: Arc<Queue<Query>>,
    cache: Arc<Cache>,
    counters: Arc<Counters>,
    health: Arc<Health>,
    writer: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

/// The thread that would have answered has ended.
#[derive(Debug, thiserror::Error)]
#[error("the SQLite store has stopped")]
struct Stopped;

fn stopped(_: oneshot::error::RecvError) -> StoreError {
    StoreError::Unavailable(Box::new(Stopped))
}

fn refused(refused: Refused) -> StoreError {
    StoreError::Unavailable(Box::new(refused))
}

/// What reading and writing connections have in common.
fn tune(connection: &Connection) -> rusqlite::Result<()> {
    // Only somebody else's program at the file can keep it busy.
    connection.busy_timeout(BUSY)?;
    // Every statement of this store stays prepared.
    connection.set_prepared_statement_cache_capacity(48);
    // In KiB, as SQLite has it: up to 32 MiB of pages, of a file that large.
    connection.pragma_update(None, "cache_size", -32_768)
}

impl SqliteStore {
    /// Opens the file, and makes it if it is missing. It blocks while it does.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process owns the file. [`StoreError::Unusable`] with the path and the remedy: the
    /// folder is missing, it is not a SQLite file, is damaged, is another application's or of a newer version.
    /// [`StoreError::Unavailable`] when SQLite fails otherwise, on a full disk for one.
    pub fn open(config: SqliteConfig) -> Result<Self> {
        let file = Arc::new(OwnedFile::acquire(&config.path)?);
        let path = file.path().to_owned();
        let sqlite_error = |error| opening_error(&path, error);
        let synchronous = match config.durability {
            Durability::Full => "FULL",
            Durability::Normal => "NORMAL",
        };
        let mut connection = writer::connect(&path, synchronous).map_err(sqlite_error)?;
        checkpoint::refuse_lost_pages(&connection, &file).map_err(|error| match error {
            SchemaError::Sqlite(error) => sqlite_error(error),
            SchemaError::Store(error) => error,
        })?;
        schema::prepare(&mut connection, &path).map_err(|error| match error {
            SchemaError::Sqlite(error) => sqlite_error(error),
            SchemaError::Store(error) => error,
        })?;

        checkpoint::keep_log(&connection, true).map_err(sqlite_error)?;
        let health = Arc::new(Health::default());
        let checkpoints = Arc::new(Checkpoints::new(file.clone(), health.clone()));
        checkpoints.adopt(&connection).map_err(sqlite_error)?;
        let room = Room::new(file.clone(), health.clone())
            .map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        room.keep();
        health.check()?;
        file.sync_folders()?;
        file.settle();

        let connections = (0..READERS)
            .map(|_| reader::connect(&path))
            .collect::<rusqlite::Result<Vec<_>>>()
            .map_err(sqlite_error)?;
        let (log, look) = checkpoint::connect(&path, synchronous).map_err(sqlite_error)?;
        let (jobs, queries) = (Arc::new(Queue::new(MAX_WAITING)), Arc::new(Queue::new(MAX_WAITING)));
        let (counters, answers) = (Arc::new(Counters::default()), Arc::new(Answers::default()));
        let cache = Arc::new(Cache::new(config.cache_bytes));
        let threads = start(connections, &queries).and_then(|mut helpers| {
            helpers.push(spawn("sqlite-log", {
                let checkpoints = checkpoints.clone();
                move || {
                    checkpoints.run(&log);
                    // Before the lock may be given back.
                    drop(log);
                }
            })?);
            let checkpoints = checkpoints.clone();
            let (jobs, answers, queries) = (jobs.clone(), answers.clone(), queries.clone());
            let (counters, cache) = (counters.clone(), cache.clone());
            let writer = Writer {
                connection,
                look,
                file,
                health: health.clone(),
                jobs,
                answers,
                counters,
                cache,
                suspect: Cell::new(false),
                refused: Cell::new(false),
                room,
                queries,
                checkpoints,
                helpers,
            };
            spawn("sqlite-write", move || writer.run())
        });
        // Those that were started already end when one of the others cannot be.
        let writer = threads.inspect_err(|_| {
            queries.close();
            checkpoints.close();
        })?;
        Ok(Self {
            path,
            jobs,
            budget: Budget::new(MAX_WAITING_BYTES),
            answers,
            queries,
            cache,
            counters,
            health,
            writer: tokio::sync::Mutex::new(Some(writer)),
        })
    }

    /// How much was written since it was opened.
    pub fn write_counts(&self) -> WriteCounts {
        self.counters.read()
    }

    /// Has the writer do `operation`; the answer comes after its commit. It is not begun for a caller that went away, and
    /// not stopped for one that goes away later.
    async fn write<O: Operation>(&self, operation: O) -> Result<O::Output> {
        let _carrier = Carrier(self);
        let share = self.share(operation.bytes())?;
        let (job, answer) = Call::boxed(operation, Some(share));
        if let Err(error) = self.jobs.push(job) {
            self.forget_abandoned();
            return Err(refused(error));
        }
        answer.await.map_err(stopped)?
    }

    /// Of the memory that waiting writes may take.
    fn share(&self, bytes: usize) -> Result<Share> {
        let share = self.budget.take(bytes).or_else(|| {
            self.forget_abandoned();
            self.budget.take(bytes)
        });
        share.ok_or_else(|| refused(Refused::Large(self.budget.taken())))
    }

    /// What waits for a disk that stands still has been given up by its callers after a while.
    fn forget_abandoned(&self) {
        self.jobs.retain(|job| !job.is_abandoned());
    }

    /// Has a reader answer `query` from what is committed.
    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (caller, answer) = oneshot::channel();
        let query: Query = Box::new(move |connection| {
            // Reading for somebody who went away would only keep others waiting.
            if !caller.is_closed() {
                let _ = caller.send(query(connection));
            }
        });
        self.health.check()?;
        self.queries.push(query).map_err(refused)?;
        let answer = answer.await.map_err(stopped)?;
        // Pages that were lost meanwhile may have been among those that were read.
        self.health.check()?;
        answer.map_err(|error| store_error(&self.path, &Arc::new(error)))
    }
}

impl SqliteStore {
    /// A slice of clean-up. What makes room must not fail for want of it.
    async fn sweep(&self, rows: Vec<Due>, now: Timestamp) -> Result<Vec<Purged>> {
        match self.write(Sweep { rows: rows.clone(), now }).await {
            Err(StoreError::Full) => {}
            other => return other,
        }
        let mut purged = Vec::new();
        for rows in rows.chunks(FEW) {
            purged.extend(self.write(Sweep { rows: rows.to_vec(), now }).await?);
        }
        Ok(purged)
    }

    /// Makes the file smaller, slice by slice, where clean-up left much of it unused.
    async fn give_back(&self) -> Result<()> {
        loop {
            match self.read(schema::spare_pages).await? {
                0 => return Ok(()),
                spare => self.write(GiveBack { pages: spare.min(PAGES) }).await?,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// A caller of the writer. However its call ends, the answers that it was woken to carry are on their way.
struct Carrier<'a>(&'a SqliteStore);

impl Drop for Carrier<'_> {
    fn drop(&mut self) {
        self.0.answers.carry(&self.0.path);
    }
}

/// Starts a reading thread on each of the connections.
fn start(connections: Vec<Connection>, queries: &Arc<Queue<Query>>) -> Result<Vec<JoinHandle<()>>> {
    connections
        .into_iter()
        .map(|connection| {
            let queries = queries.clone();
            spawn("sqlite-read", move || reader::run(&connection, &queries))
        })
        .collect()
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .map_err(|error| StoreError::Unavailable(Box::new(error)))
}

impl Drop for SqliteStore {
    /// What was asked before is still done, by threads that then end by themselves. Use
    /// [`close`](Store::close) to know when.
    fn drop(&mut self) {
        self.jobs.close();
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn create(&self, record: Arc<Record>, now: Timestamp) -> Result<Created> {
        self.write(Create { record, now }).await
    }

    async fn load(&self, handle: Handle, now: Timestamp) -> Result<Loaded> {
        let ticket = match self.cache.get(handle) {
            Ok(record) => return Ok(Loaded::of(Some(record), now)),
            Err(ticket) => ticket,
        };
        let (cache, health) = (self.cache.clone(), self.health.clone());
        let row = self.read(move |connection| {
            let row = reader::load(connection, handle)?;
            if let Some(row) = &row
                && health.is_settled()
            {
                cache.fill(ticket, row);
            }
            Ok(row)
        });
        Ok(Loaded::of(row.await?.map(|row| row.record), now))
    }

    fn has_records_at_hand(&self) -> bool {
        true
    }

    fn load_now(&self, handle: Handle, now: Timestamp) -> Option<Result<Loaded>> {
        let record = self.cache.get(handle).ok()?;
        Some(Ok(Loaded::of(Some(record), now)))
    }

    async fn update(&self, handle: Handle, expected: Expected, change: &Change) -> Result<Updated> {
        self.write(Update { handle, expected, change: change.clone() }).await
    }

    async fn delete(&self, handle: Handle, secret_hash: Option<SecretHash>) -> Result<bool> {
        self.write(Delete { handle, secret_hash }).await
    }

    async fn list(&self, listing: Listing<'_>, now: Timestamp) -> Result<Page> {
        let list = List::new(listing, now);
        self.read(move |connection| list.page(connection)).await
    }

    async fn counts(&self, now: Timestamp) -> Result<Counts> {
        let (active, expired) = self.read(move |connection| schema::counts(connection, now)).await?;
        Ok(Counts { active, expired })
    }

    async fn counts_since(&self, now: Timestamp, moments: &[Timestamp]) -> Result<Vec<u64>> {
        let moments = moments.to_vec();
        self.read(move |connection| {
            moments.iter().map(|moment| reader::count_since(connection, now, *moment)).collect()
        })
        .await
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Claimed> {
        self.write(TakePlace::new(claim)).await
    }

    async fn release(&self, user_id: &str, handles: &[Handle]) -> Result<()> {
        self.write(Release { user_id: user_id.to_owned(), handles: handles.to_vec() }).await
    }

    async fn tidy_claims(&self, now: Timestamp, after: Option<&str>, limit: usize) -> Result<Option<String>> {
        self.write(TidyClaims { now, after: after.map(str::to_owned), limit }).await
    }

    async fn forget_claims(&self) -> Result<()> {
        self.write(ForgetClaims).await
    }

    /// Readers find what is due; the writer only has to change it. One pass goes through all rows whose bucket is
    /// due, however many of them were extended: those get a later bucket on the way, so that it happens once.
    async fn purge_expired(&self, now: Timestamp, limit: usize) -> Result<Vec<Purged>> {
        let (mut purged, mut after) = (Vec::new(), None);
        loop {
            let found = self.read(move |connection| reader::due(connection, now, after, SLICE)).await?;
            let is_last = found.len() < SLICE;
            after = found.last().copied().or(after);
            let mut room = limit - purged.len();
            let mut rows = found;
            rows.retain(|row| match row.expires_at <= now {
                true => {
                    let fits = room > 0;
                    room -= usize::from(fits);
                    fits
                }
                false => row::bucket(row.expires_at) > row.expiry_bucket,
            });
            if !rows.is_empty() {
                purged.extend(self.sweep(rows, now).await?);
            }
            if is_last && let Err(error) = self.give_back().await {
                // Who was removed has to be said all the same.
                tracing::debug!(%error, "the file is made smaller another time");
            }
            if is_last || purged.len() >= limit {
                return Ok(purged);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn clear(&self) -> Result<u64> {
        self.write(Clear).await
    }

    async fn ping(&self) -> Result<()> {
        self.write(Ping).await
    }

    fn metrics(&self) -> String {
        metrics::Page(self).to_string()
    }

    async fn checkup(&self) -> Result<Checkup> {
        self.read(schema::checkup).await
    }

    async fn close(&self) {
        self.jobs.close();
        // Somebody else may own the file after this.
        let forgotten = self.cache.close();
        // Held while it waits: a second caller waits too.
        let mut writer = self.writer.lock().await;
        if let Some(thread) = writer.take() {
            let end = move || {
                drop(forgotten);
                // A writer that panicked has reported so itself, and has let go of the file.
                thread.join()
            };
            let _ = tokio::task::spawn_blocking(end).await;
        }
    }
}
