//! Writing: one thread, which puts all writes that wait into one transaction. The disk is asked to keep them once
//! for all, and only then does each caller get its answer.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::answers::Answers;
use super::budget::Share;
use super::cache::{Cache, Written};
use super::checkpoint::{Care, Checkpoints};
use super::failure::store_error;
use super::file::OwnedFile;
use super::health::Health;
use super::operation::{Failure, Operation, Transaction};
use super::queue::{Abandon, Queue};
use super::reader::Query;
use super::schema;
use crate::store::{Result, StoreError};

/// Writes in one transaction at most: a few milliseconds of work, so that nobody waits long for the others.
const MAX_BATCH: usize = 512;

/// How much was written since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteCounts {
    /// Calls that were answered by the writer.
    pub writes: u64,
    /// Transactions that changed the file: each is one wait for the disk.
    pub commits: u64,
}

/// The counters behind [`WriteCounts`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    writes: AtomicU64,
    commits: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> WriteCounts {
        WriteCounts {
            writes: self.writes.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
        }
    }
}

/// A write that waits for its turn, its commit and its answer.
pub(super) trait Job: Send {
    /// Makes the write and keeps what came of it.
    fn execute(&mut self, transaction: &mut Transaction<'_>);
    /// Tells the caller what came of it: it is committed, or was not made. Says whether there still was a caller.
    fn answer(self: Box<Self>, path: &Path) -> bool;
    /// Tells the caller that it was undone.
    fn undone(self: Box<Self>, error: StoreError);
    /// Whether nobody waits for it any more: it is not begun then.
    fn is_abandoned(&self) -> bool;
}

/// An operation and its caller.
pub(super) struct Call<O: Operation> {
    operation: O,
    result: Option<std::result::Result<O::Output, Failure>>,
    caller: oneshot::Sender<Result<O::Output>>,
    /// Of the memory that waiting writes may take; kept until it is answered.
    _share: Option<Share>,
}

impl<O: Operation> Call<O> {
    /// A job of it, and where its answer comes.
    pub(super) fn boxed(
        operation: O,
        share: Option<Share>,
    ) -> (Box<dyn Job>, oneshot::Receiver<Result<O::Output>>) {
        let (caller, answer) = oneshot::channel();
        (Box::new(Self { operation, result: None, caller, _share: share }), answer)
    }
}

impl<O: Operation> Job for Call<O> {
    fn execute(&mut self, transaction: &mut Transaction<'_>) {
        if self.is_abandoned() {
            // It may have been made before, in a transaction that was undone.
            self.result = None;
            return;
        }
        let result = self.operation.execute(transaction);
        if let Err(Failure::Sqlite(_)) = &result {
            // SQLite may keep a part of what fails on a damaged file: nothing of before is certain.
            transaction.withheld.add(Written::AllGone);
        }
        self.result = Some(result);
    }

    fn answer(self: Box<Self>, path: &Path) -> bool {
        // A call without a result was never begun; its caller hears from the closed channel.
        let Some(result) = self.result else { return false };
        // A caller that went away meanwhile has its write made all the same.
        let answer = self.caller.send(result.map_err(|failure| match failure {
            Failure::Sqlite(error) => store_error(path, &Arc::new(error)),
            Failure::Store(error) => error,
        }));
        answer.is_ok()
    }

    fn undone(self: Box<Self>, error: StoreError) {
        let _ = self.caller.send(Err(error));
    }

    fn is_abandoned(&self) -> bool {
        self.caller.is_closed()
    }
}

/// What came of one transaction.
enum Outcome {
    Committed,
    /// A write failed in such a way that SQLite gave up the whole transaction (a full disk, for one).
    GivenUp,
    /// It could not be begun or committed.
    Failed(rusqlite::Error),
}

/// The thread that writes, and all it owns.
pub(super) struct Writer {
    pub(super) connection: Connection,
    /// Looks at the log while the other one is within a read.
    pub(super) look: Connection,
    pub(super) file: Arc<OwnedFile>,
    pub(super) health: Arc<Health>,
    pub(super) jobs: Arc<Queue<Box<dyn Job>>>,
    pub(super) answers: Arc<Answers>,
    pub(super) counters: Arc<Counters>,
    pub(super) cache: Arc<Cache>,
    /// The last transaction failed: the next one writes in any case, so that a `ping` finds out whether it can.
    pub(super) suspect: Cell<bool>,
    /// The other threads end before the writer does, so that nobody uses the file when its lock is given back.
    pub(super) queries: Arc<Queue<Query>>,
    pub(super) helpers: Vec<JoinHandle<()>>,
    pub(super) checkpoints: Arc<Checkpoints>,
}

/// However the writer ends, nobody is answered any more by the time its lock is given back.
struct Silence {
    cache: Arc<Cache>,
    queries: Arc<Queue<Query>>,
    checkpoints: Arc<Checkpoints>,
}

impl Drop for Silence {
    fn drop(&mut self) {
        self.queries.close();
        self.checkpoints.close();
        drop(self.cache.close());
    }
}

impl Writer {
    /// Writes until the queue is closed, then puts everything into the one file and lets go of it.
    pub(super) fn run(mut self) {
        let jobs = self.jobs.clone();
        let _silence = Silence {
            cache: self.cache.clone(),
            queries: self.queries.clone(),
            checkpoints: self.checkpoints.clone(),
        };
        let _abandon = Abandon(&jobs);
        let mut batch = Vec::new();
        while jobs.wait() {
            self.work(&mut batch);
            let care = self.checkpoints.tend(&self.connection, &self.look).and_then(|care| match care {
                Care::None => Ok(()),
                Care::Beside => self.write_beside_a_copy(&mut batch),
            });
            if let Err(error) = care {
                tracing::debug!(%error, "the SQLite store's log is looked after another time");
            }
        }
        self.queries.close();
        self.checkpoints.close();
        for helper in self.helpers.drain(..) {
            // One that panicked has reported so itself.
            let _ = helper.join();
        }
        // SQLite removes the log with its last connection, if that one may.
        drop(self.look);
        self.checkpoints.end(&self.connection);
    }

    /// Does what waits, and answers.
    fn work(&self, batch: &mut Vec<Box<dyn Job>>) {
        // On a core that is shared with the callers, others of them now ask who would wait for the next commit.
        std::thread::yield_now();
        self.jobs.take(MAX_BATCH, batch);
        self.write(batch);
        // Whoever was to carry the answers has had the time to; nobody waits for one that is stopped.
        std::thread::yield_now();
        self.answers.carry(self.file.path());
    }

    /// Goes on writing while the log is copied: with a read open, so that until the copy is synced everything is read as
    /// if it were not there.
    fn write_beside_a_copy(&self, batch: &mut Vec<Box<dyn Job>>) -> rusqlite::Result<()> {
        // It has several rows: the statement goes on after the first.
        let mut read = self.connection.prepare_cached("SELECT name FROM sqlite_schema")?;
        let mut rows = read.query([])?;
        rows.next()?;
        self.checkpoints.begin();
        while self.checkpoints.is_copying() && self.jobs.wait() {
            if !self.checkpoints.is_copying() {
                break;
            }
            self.work(batch);
            // Somebody else's program that wrote can be followed with a new read alone.
            if self.suspect.get() || Checkpoints::is_too_long(&self.look) {
                break;
            }
        }
        // Before the read ends.
        self.checkpoints.wait();
        Ok(())
    }

    fn write(&self, batch: &mut Vec<Box<dyn Job>>) {
        if self.health.is_untrusted() {
            for job in batch.drain(..) {
                job.undone(self.health.check().expect_err("it is untrusted"));
            }
            return;
        }
        match self.attempt(batch) {
            Outcome::Committed => self.answer(batch),
            Outcome::GivenUp => {
                // Nothing of it was kept, so it can be done again; each by itself, so that only what cannot be
                // written fails: on a full disk, others may still fit.
                for job in batch.drain(..) {
                    let mut alone = vec![job];
                    match self.attempt(&mut alone) {
                        Outcome::Committed | Outcome::GivenUp => self.answer(&mut alone),
                        Outcome::Failed(error) => self.fail(&mut alone, error),
                    }
                }
            }
            Outcome::Failed(error) => self.fail(batch, error),
        }
    }

    fn answer(&self, batch: &mut Vec<Box<dyn Job>>) {
        self.counters.writes.fetch_add(batch.len() as u64, Ordering::Relaxed);
        self.answers.give(batch, self.file.path());
    }

    fn fail(&self, batch: &mut Vec<Box<dyn Job>>, error: rusqlite::Error) {
        tracing::warn!(%error, writes = batch.len(), "a transaction of the SQLite store failed");
        let error = Arc::new(error);
        for job in batch.drain(..) {
            job.undone(store_error(self.file.path(), &error));
        }
    }

    /// Makes the writes of `batch` in one transaction.
    fn attempt(&self, batch: &mut [Box<dyn Job>]) -> Outcome {
        let outcome = self.transact(batch);
        // After a failed COMMIT the transaction may still be open.
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "a transaction of the SQLite store could not be rolled back");
        }
        self.suspect.set(!matches!(outcome, Outcome::Committed));
        outcome
    }

    fn transact(&self, batch: &mut [Box<dyn Job>]) -> Outcome {
        let statement = |sql| self.connection.prepare_cached(sql).and_then(|mut sql| sql.execute([]));
        let changes = self.connection.total_changes();
        if let Err(error) = statement("BEGIN IMMEDIATE") {
            return Outcome::Failed(error);
        }
        if self.suspect.get()
            && let Err(error) = self.connection.pragma_update(None, "user_version", schema::VERSION)
        {
            return Outcome::Failed(error);
        }
        let withheld = self.cache.withhold();
        let mut transaction = Transaction { connection: &self.connection, file: &self.file, withheld };
        for job in batch {
            job.execute(&mut transaction);
            if self.connection.is_autocommit() {
                return Outcome::GivenUp;
            }
        }
        if let Err(error) = statement("COMMIT") {
            return Outcome::Failed(error);
        }
        // Before anybody is answered: whoever reads after an answer finds what it says.
        transaction.withheld.publish();
        if self.connection.total_changes() != changes {
            self.counters.commits.fetch_add(1, Ordering::Relaxed);
        }
        Outcome::Committed
    }
}

/// Opens a connection that writes, to the log or from there to the file.
pub(super) fn connect(path: &Path, synchronous: &str) -> rusqlite::Result<Connection> {
    use rusqlite::OpenFlags;
    // Without CREATE: the file was made before, with the right mode.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(PathBuf::from(path), flags)?;
    super::tune(&connection)?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", MAX_LOG_BYTES)?;
    Ok(connection)
}

/// The log is cut back to this size, in bytes, once a long reader had made it grow.
const MAX_LOG_BYTES: u32 = 64 << 20;
