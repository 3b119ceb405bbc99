//! The store itself: each call of the contract as a job of the writer or a question to a reader.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::answers::Answers;
use super::cache::Cache;
use super::checkpoint::Checkpoints;
use super::claims::{self, ForgetPlaces, Release, TakePlace};
use super::settings::{Durability, SqliteConfig};
use super::counting::counts;
use super::deletion::Delete;
use super::failure::{opening_error, store_error};
use super::file::OwnedFile;
use super::health::Health;
use super::listing::{self, List};
use super::operation::{Clear, ClearSome, Create, GiveBack, Look, Operation, Ping, Sweep, Update};
use super::queue::{Queue, Refused};
use super::reader::Query;
use super::room::Room;
use super::scan::Scan;
use super::schema::SchemaError;
use super::waiting::{MAX_WAITING_BYTES, Share, Waiting};
use super::writer::{Call, Counters, Job, WriteCounts, Writer};
use super::{checkpoint, metrics, reader, row, scan, schema, writer};
use crate::budget::Budget;
use crate::id::Handle;
use crate::record::{Change, Record, Summary};
use crate::store::{
    Checkup, Claim, Claimed, Counts, Created, Listing, Loaded, Outlined, Page, PlacesPage, Purged, Result,
    Store, StoreError, Target, Unless, Updated,
};
use crate::time::{Clock, Timestamp};

/// Threads that read: while one has to wait for the disk, another answers.
pub(super) const READERS: usize = 2;

/// Calls that may wait for the writer, and as many for the readers; more than they do within a request's deadline.
const MAX_WAITING: usize = 4_096;

/// Handles that a reader looks up at a time: whoever asks for a session meanwhile waits some milliseconds.
const LOOKED_UP: usize = 500;

/// Rows that clean-up looks at, and changes, at a time: the writes that wait meanwhile are held up a few
/// milliseconds.
const SLICE: usize = 250;

/// How long clean-up leaves the writer to others between two slices of one call.
const PAUSE: Duration = Duration::from_millis(20);

/// Unused pages that are cut off the file in one go; each costs a page that is moved.
const PAGES: u64 = 64;

/// Sessions in a SQLite file that this process owns.
pub struct SqliteStore {
    path: PathBuf,
    pub(super) jobs: Arc<Queue<Box<dyn Job>>>,
    pub(super) waiting: Arc<Waiting>,
    answers: Arc<Answers>,
    pub(super) queries: Arc<Queue<Query>>,
    pub(super) scans: Arc<Queue<Scan>>,
    cache: Arc<Cache>,
    pub(super) counters: Arc<Counters>,
    pub(super) health: Arc<Health>,
    writer: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

/// The thread that would have answered has ended.
#[derive(Debug, thiserror::Error)]
#[error("the SQLite store has stopped")]
pub(super) struct Stopped;

fn stopped(_: oneshot::error::RecvError) -> StoreError {
    StoreError::Unavailable(Box::new(Stopped))
}

fn refused(refused: Refused) -> StoreError {
    StoreError::Unavailable(Box::new(refused))
}

impl SqliteStore {
    /// Opens the file, and makes it if it is missing. It blocks while it does. By `clock`, which is that of the engine, a
    /// session lives or not when it is written to. Its cache and the writes that wait draw on `budget`.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process owns the file. [`StoreError::Unusable`] with the path and the remedy: the
    /// folder is missing, it is not a SQLite file, is damaged, is another application's or of a newer version.
    /// [`StoreError::Unavailable`] when SQLite fails otherwise, on a full disk for one.
    pub fn open(config: SqliteConfig, clock: Arc<dyn Clock>, budget: &Arc<dyn Budget>) -> Result<Self> {
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
        let scanning = scan::connect(&path).map_err(sqlite_error)?;
        let (log, look) = checkpoint::connect(&path, synchronous).map_err(sqlite_error)?;
        let (jobs, queries) = (Arc::new(Queue::new(MAX_WAITING)), Arc::new(Queue::new(MAX_WAITING)));
        let scans = Arc::new(Queue::new(MAX_WAITING));
        let (counters, answers) = (Arc::new(Counters::default()), Arc::new(Answers::default()));
        let cache = Arc::new(Cache::new(config.cache_bytes, budget));
        let threads = start(connections, &queries).and_then(|mut helpers| {
            helpers.push(spawn("sqlite-scan", {
                let scans = scans.clone();
                move || scan::run(scanning, &scans)
            })?);
            helpers.push(spawn("sqlite-log", {
                let checkpoints = checkpoints.clone();
                move || {
                    checkpoints.run(&log);
                    // Before the lock may be given back.
                    drop(log);
                }
            })?);
            let checkpoints = checkpoints.clone();
            let (jobs, answers) = (jobs.clone(), answers.clone());
            let (queries, scans) = (queries.clone(), scans.clone());
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
                scans,
                checkpoints,
                helpers,
                clock,
            };
            spawn("sqlite-write", move || writer.run())
        });
        // Those that were started already end when one of the others cannot be.
        let writer = threads.inspect_err(|_| {
            queries.close();
            scans.close();
            checkpoints.close();
        })?;
        Ok(Self {
            path,
            jobs,
            waiting: Waiting::new(MAX_WAITING_BYTES, budget),
            answers,
            queries,
            scans,
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
    pub(super) async fn write<O: Operation>(&self, operation: O) -> Result<O::Output> {
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
        let share = self.waiting.take(bytes).or_else(|| {
            self.forget_abandoned();
            self.waiting.take(bytes)
        });
        share.ok_or_else(|| refused(Refused::Large(self.waiting.taken())))
    }

    /// What waits for a disk that stands still has been given up by its callers after a while.
    fn forget_abandoned(&self) {
        self.jobs.retain(|job| !job.is_abandoned());
    }

    /// Has a reader answer `query` from what is committed.
    pub(super) async fn read<T: Send + 'static>(
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

    /// As [`read`](Self::read), for what goes through a great part of the file: one such question at a time is answered,
    /// and given up when its caller goes away.
    pub(super) async fn scan<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let waiting = Arc::new(());
        let (caller, answer) = oneshot::channel();
        let query: Query = Box::new(move |connection| {
            let _ = caller.send(query(connection));
        });
        self.health.check()?;
        self.scans.push(Scan { caller: Arc::downgrade(&waiting), query }).map_err(refused)?;
        let answer = answer.await;
        drop(waiting);
        self.health.check()?;
        answer.map_err(stopped)?.map_err(|error| store_error(&self.path, &Arc::new(error)))
    }
}

impl SqliteStore {
    /// What makes room must not fail for want of it: where the log of a full disk has no room for all, it is done in
    /// parts.
    async fn write_in_parts<T: Clone, O: Operation<Output = Vec<R>>, R>(
        &self,
        items: Vec<T>,
        operation: impl Fn(Vec<T>) -> O,
    ) -> Result<Vec<R>> {
        let (mut parts, mut done) = (vec![items], Vec::new());
        while let Some(mut part) = parts.pop() {
            match self.write(operation(part.clone())).await {
                Err(StoreError::Full) if part.len() > 1 => {
                    let rest = part.split_off(part.len() / 2);
                    parts.extend([rest, part]);
                }
                other => done.extend(other?),
            }
        }
        Ok(done)
    }

    /// Makes the file smaller, slice by slice, where clean-up left much of it unused.
    async fn give_back(&self) -> Result<()> {
        loop {
            match self.scan(schema::spare_pages).await? {
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
        let (row, is_current) = self
            .read(move |connection| {
                let row = reader::load(connection, handle)?;
                let is_current =
                    row.as_ref().is_none_or(|row| !health.is_settled() || cache.fill(ticket, row));
                Ok((row, is_current))
            })
            .await?;
        let record = row.map(|row| row.record);
        // Nobody is told that a session has ended while a change is on its way to the disk that prolongs it.
        if !is_current && record.as_ref().is_some_and(|record| !record.is_live(now)) {
            return Ok(Loaded::of(self.write(Look { handle }).await?, now));
        }
        Ok(Loaded::of(record, now))
    }

    fn has_records_at_hand(&self) -> bool {
        true
    }

    fn load_now(&self, handle: Handle, now: Timestamp) -> Option<Result<Loaded>> {
        let record = self.cache.get(handle).ok()?;
        Some(Ok(Loaded::of(Some(record), now)))
    }

    async fn update(&self, read: &Record, unless: Unless, change: &Change) -> Result<Updated> {
        self.write(Update::new(read, unless, change)).await
    }

    async fn delete(&self, targets: &[Target]) -> Result<Vec<Handle>> {
        self.write_in_parts(targets.to_vec(), |targets| Delete { targets }).await
    }

    async fn outlines(&self, handles: &[Handle]) -> Result<Vec<Outlined>> {
        let mut outlines = Vec::with_capacity(handles.len());
        for handles in handles.chunks(LOOKED_UP) {
            let handles = handles.to_vec();
            outlines.extend(self.read(move |connection| listing::outlines(connection, &handles)).await?);
        }
        Ok(outlines)
    }

    async fn list(&self, listing: Listing<'_>, now: Timestamp) -> Result<Page<Summary>> {
        let list = List::new(listing, now);
        match listing.user_id {
            Some(_) => self.read(move |connection| list.page(connection)).await,
            None => self.scan(move |connection| list.page(connection)).await,
        }
    }

    async fn records(
        &self,
        after: Option<Handle>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page<Arc<Record>>> {
        self.scan(move |connection| listing::records(connection, after, limit, now)).await
    }

    async fn counts(&self, now: Timestamp, since: &[Timestamp]) -> Result<Counts> {
        let since = since.to_vec();
        self.scan(move |connection| counts(connection, now, &since)).await
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Claimed> {
        self.write(TakePlace::new(claim)).await
    }

    async fn release(&self, user_id: &str, handles: &[Handle]) -> Result<()> {
        self.write(Release { user_id: user_id.to_owned(), handles: handles.to_vec() }).await
    }

    async fn places(&self, user_id: &str) -> Result<Vec<Handle>> {
        let user_id = user_id.to_owned();
        self.read(move |connection| claims::places(connection, &user_id)).await
    }

    async fn all_places(&self, after: Option<&str>, limit: usize) -> Result<PlacesPage> {
        let after = after.map(str::to_owned);
        self.scan(move |connection| claims::all_places(connection, after.as_deref(), limit)).await
    }

    async fn forget_places(&self) -> Result<()> {
        self.write(ForgetPlaces).await
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
                purged.extend(self.write_in_parts(rows, |rows| Sweep { rows, now }).await?);
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
        let mut records = 0;
        loop {
            match self.write(Clear).await {
                Ok(rest) => return Ok(records + rest),
                Err(StoreError::Full) => {}
                Err(error) => return Err(error),
            }
            // As much as the log of a full disk has room for, which makes more.
            match self.write(ClearSome { most: SLICE / 10 }).await? {
                0 => return Err(StoreError::Full),
                some => records += some,
            }
        }
    }

    async fn ping(&self) -> Result<()> {
        self.write(Ping).await
    }

    fn metrics(&self) -> String {
        metrics::Page(self).to_string()
    }

    async fn checkup(&self) -> Result<Checkup> {
        self.scan(schema::checkup).await
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
