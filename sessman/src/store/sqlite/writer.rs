//! The writer: one thread, which makes all queued writes in one transaction (group commit). One sync of the disk covers all
//! of them, and only then do their callers get their replies.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::answers::Answers;
use super::cache::Cache;
use super::checkpoint::{Care, Checkpoints};
use super::counters::Counters;
use super::failure::{is_no_room, store_error};
use super::file::OwnedFile;
use super::health::Health;
use super::job::Job;
use super::operation::Transaction;
use super::queue::{Abandon, Queue};
use super::reader::Query;
use super::room::Room;
use super::row::unsigned;
use super::scan::Scan;
use super::schema;
use crate::time::Clock;

/// The most writes per transaction: a few milliseconds of work, so that no caller waits long for the others.
const MAX_BATCH: usize = 512;

/// The result of one transaction.
enum Outcome {
    Committed,
    /// The disk is full.
    NoRoom,
    /// SQLite rolled back the whole transaction because of one write (for example on a full disk).
    GivenUp,
    /// The transaction could not begin, or the commit failed.
    Failed(rusqlite::Error),
}

/// The writer thread and everything it owns.
pub(super) struct Writer {
    pub(super) connection: Connection,
    /// Reads the size of the WAL while the other connection is in a read transaction.
    pub(super) look: Connection,
    pub(super) file: Arc<OwnedFile>,
    pub(super) health: Arc<Health>,
    pub(super) room: Room,
    pub(super) jobs: Arc<Queue<Box<dyn Job>>>,
    pub(super) answers: Arc<Answers>,
    pub(super) counters: Arc<Counters>,
    pub(super) cache: Arc<Cache>,
    /// The last transaction failed: the next one must write something, so that a `ping` tests whether the disk works.
    pub(super) suspect: Cell<bool>,
    /// A write was rejected because the disk is full.
    pub(super) refused: Cell<bool>,
    /// The other threads must end before the writer does, so that nobody uses the file once its lock is released.
    pub(super) queries: Arc<Queue<Query>>,
    pub(super) scans: Arc<Queue<Scan>>,
    pub(super) helpers: Vec<JoinHandle<()>>,
    pub(super) checkpoints: Arc<Checkpoints>,
    pub(super) clock: Arc<dyn Clock>,
}

/// However the writer ends, no caller gets a reply after its lock is released.
struct Silence {
    cache: Arc<Cache>,
    queries: Arc<Queue<Query>>,
    scans: Arc<Queue<Scan>>,
    checkpoints: Arc<Checkpoints>,
}

impl Drop for Silence {
    fn drop(&mut self) {
        self.queries.close();
        self.scans.close();
        self.checkpoints.close();
        drop(self.cache.close());
    }
}

impl Writer {
    /// Writes until the queue is closed, then checkpoints everything into the file and releases it.
    pub(super) fn run(mut self) {
        let jobs = self.jobs.clone();
        let _silence = Silence {
            cache: self.cache.clone(),
            queries: self.queries.clone(),
            scans: self.scans.clone(),
            checkpoints: self.checkpoints.clone(),
        };
        let _abandon = Abandon(&jobs);
        let mut batch = Vec::new();
        while jobs.wait() {
            self.work(&mut batch);
            self.write_with_little_room(&mut batch);
            let care = self.checkpoints.tend(&self.connection, &self.look, &self.room);
            let tended = care.and_then(|care| match care {
                Care::None => Ok(()),
                Care::Beside => self.write_beside_a_copy(&mut batch),
            });
            self.write_with_little_room(&mut batch);
            if let Err(error) = tended {
                tracing::debug!(%error, "the SQLite store's log is looked after another time");
            }
        }
        self.queries.close();
        self.scans.close();
        self.checkpoints.close();
        for helper in self.helpers.drain(..) {
            // A panic was reported by the panic hook.
            let _ = helper.join();
        }
        // SQLite deletes the WAL with its last connection, if that one is allowed to.
        drop(self.look);
        self.checkpoints.end(&self.connection);
    }

    /// Makes the queued writes and replies. What is left over needs [more disk space](Self::write_with_little_room).
    fn work(&self, batch: &mut Vec<Box<dyn Job>>) {
        // On a core shared with the callers, more of them get to queue their writes now instead of waiting for the next commit.
        std::thread::yield_now();
        self.jobs.take(MAX_BATCH, batch);
        self.write(batch);
        // The caller that delivers the replies has had time to run; if it is stalled, the others do not wait for it.
        std::thread::yield_now();
        self.answers.carry(self.file.path());
    }

    /// Writes while the WAL is being copied. A read transaction stays open, so that until the copy is synced all reads use the
    /// WAL as if nothing were copied.
    fn write_beside_a_copy(&self, batch: &mut Vec<Box<dyn Job>>) -> rusqlite::Result<()> {
        // The query has several rows, so it stays open after the first.
        let mut read = self.connection.prepare_cached("SELECT name FROM sqlite_schema")?;
        let mut rows = read.query([])?;
        rows.next()?;
        self.checkpoints.begin();
        while self.checkpoints.is_copying() && self.jobs.wait() {
            if !self.checkpoints.is_copying() {
                break;
            }
            self.work(batch);
            // If another program wrote to the file, only a new read transaction can continue.
            if self.suspect.get() || !batch.is_empty() || Checkpoints::is_too_long(&self.look) {
                break;
            }
        }
        // Must come before the read transaction ends.
        self.checkpoints.wait();
        self.room.look_again();
        Ok(())
    }

    fn write(&self, batch: &mut Vec<Box<dyn Job>>) {
        if self.health.is_untrusted() {
            for job in batch.drain(..) {
                job.undone(self.health.check().expect_err("it is untrusted"));
            }
            return;
        }
        if self.health.is_full() {
            return;
        }
        match self.attempt(batch, Steps::Together) {
            Outcome::Committed => self.answer(batch),
            // Rolled back, so it can be retried.
            Outcome::NoRoom | Outcome::GivenUp => {}
            Outcome::Failed(error) => self.fail(batch, error),
        }
    }

    /// After a failed group: makes its writes one by one, so that only those fail that do not fit on the full disk. Runs between
    /// two transactions, and while no copy is in progress.
    fn write_with_little_room(&self, batch: &mut Vec<Box<dyn Job>>) {
        if batch.is_empty() {
            return;
        }
        if !self.health.is_full() {
            self.make_room();
        } else if self.pages().is_ok_and(|pages| self.room.is_there_again(pages)) {
            self.room.set_full(false);
        }
        let is_growing = batch.iter().any(|job| job.is_growing());
        self.refused.set(false);
        self.write_parts(batch);
        if self.refused.get() || is_growing {
            self.room.set_full(self.refused.get());
        }
        self.answers.carry(self.file.path());
    }

    fn write_parts(&self, batch: &mut Vec<Box<dyn Job>>) {
        let mut outcome = self.attempt(batch, Steps::One);
        // The WAL may have been what had no space.
        if matches!(outcome, Outcome::NoRoom | Outcome::GivenUp) && self.make_room() {
            outcome = self.attempt(batch, Steps::One);
        }
        match outcome {
            Outcome::Committed => self.answer(batch),
            Outcome::Failed(error) => self.fail(batch, error),
            Outcome::NoRoom | Outcome::GivenUp if batch.len() > 1 => {
                let mut rest = batch.split_off(batch.len() / 2);
                self.write_parts(batch);
                self.write_parts(&mut rest);
            }
            // The write's own error says what is wrong.
            Outcome::GivenUp => self.answer(batch),
            Outcome::NoRoom => {
                self.refused.set(true);
                batch.iter_mut().for_each(|job| job.refuse());
                self.answer(batch);
            }
        }
    }

    fn make_room(&self) -> bool {
        self.checkpoints.make_room(&self.connection, &self.room).unwrap_or_else(|error| {
            tracing::debug!(%error, "the SQLite store's log could not make room");
            false
        })
    }

    /// Pages of the file; in a transaction, including its uncommitted ones.
    fn pages(&self) -> rusqlite::Result<u64> {
        self.connection.prepare_cached("PRAGMA page_count")?.query_row([], |row| unsigned(row, 0))
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
    fn attempt(&self, batch: &mut [Box<dyn Job>], steps: Steps) -> Outcome {
        let outcome = self.transact(batch, steps);
        // After a failed COMMIT the transaction may still be open.
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "a transaction of the SQLite store could not be rolled back");
        }
        self.suspect.set(!matches!(outcome, Outcome::Committed));
        outcome
    }

    fn transact(&self, batch: &mut [Box<dyn Job>], steps: Steps) -> Outcome {
        let changes = self.connection.total_changes();
        if let Err(error) = self.statement("BEGIN IMMEDIATE") {
            return Outcome::Failed(error);
        }
        if self.suspect.get()
            && let Err(error) = self.connection.pragma_update(None, "user_version", schema::VERSION)
        {
            return Outcome::of(error);
        }
        let withheld = self.cache.withhold();
        let clock = &*self.clock;
        let mut transaction = Transaction { connection: &self.connection, file: &self.file, clock, withheld };
        for job in &mut *batch {
            let made = match steps {
                Steps::Together => {
                    job.execute(&mut transaction);
                    Ok(())
                }
                Steps::One => self.step(&mut **job, &mut transaction),
            };
            if self.connection.is_autocommit() {
                return Outcome::GivenUp;
            }
            if let Err(error) = made {
                return Outcome::of(error);
            }
        }
        match self.pages() {
            Ok(pages) if self.room.cover(pages) => {}
            Ok(_) => return Outcome::NoRoom,
            Err(error) => return Outcome::Failed(error),
        }
        if let Err(error) = self.statement("COMMIT") {
            return Outcome::of(error);
        }
        // Before any reply: a caller that reads after its reply must find its write.
        transaction.withheld.publish();
        if self.connection.total_changes() != changes {
            self.counters.commits.fetch_add(1, Ordering::Relaxed);
        }
        Outcome::Committed
    }

    /// Makes one write of a transaction, and rolls it back if the disk is full.
    fn step(&self, job: &mut dyn Job, transaction: &mut Transaction<'_>) -> rusqlite::Result<()> {
        self.statement("SAVEPOINT step")?;
        transaction.withheld.begin_step();
        job.execute(transaction);
        // If SQLite rolled back the whole transaction, the savepoint is gone.
        if self.connection.is_autocommit() {
            return Ok(());
        }
        if !self.room.cover(self.pages()?) {
            self.statement("ROLLBACK TO step")?;
            transaction.withheld.undo_step();
            job.refuse();
            self.refused.set(true);
        }
        self.statement("RELEASE step")
    }

    fn statement(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }
}

impl Outcome {
    fn of(error: rusqlite::Error) -> Self {
        if is_no_room(&error) { Self::NoRoom } else { Self::Failed(error) }
    }
}

/// How the writes of a transaction can be rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Steps {
    /// All or none.
    Together,
    /// Each on its own, by a savepoint.
    One,
}
