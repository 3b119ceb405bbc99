//! Writing: one thread, which puts all writes that wait into one transaction. The disk is asked to keep them once
//! for all, and only then does each caller get its answer.

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

/// Writes in one transaction at most: a few milliseconds of work, so that nobody waits long for the others.
const MAX_BATCH: usize = 512;

/// What came of one transaction.
enum Outcome {
    Committed,
    /// There is no room for all of it on the disk.
    NoRoom,
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
    pub(super) room: Room,
    pub(super) jobs: Arc<Queue<Box<dyn Job>>>,
    pub(super) answers: Arc<Answers>,
    pub(super) counters: Arc<Counters>,
    pub(super) cache: Arc<Cache>,
    /// The last transaction failed: the next one writes in any case, so that a `ping` finds out whether it can.
    pub(super) suspect: Cell<bool>,
    /// A write was refused for want of room.
    pub(super) refused: Cell<bool>,
    /// The other threads end before the writer does, so that nobody uses the file when its lock is given back.
    pub(super) queries: Arc<Queue<Query>>,
    pub(super) scans: Arc<Queue<Scan>>,
    pub(super) helpers: Vec<JoinHandle<()>>,
    pub(super) checkpoints: Arc<Checkpoints>,
    pub(super) clock: Arc<dyn Clock>,
}

/// However the writer ends, nobody is answered any more by the time its lock is given back.
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
    /// Writes until the queue is closed, then puts everything into the one file and lets go of it.
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
            // One that panicked has reported so itself.
            let _ = helper.join();
        }
        // SQLite removes the log with its last connection, if that one may.
        drop(self.look);
        self.checkpoints.end(&self.connection);
    }

    /// Does what waits, and answers. What is left over needs [more room](Self::write_with_little_room).
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
            if self.suspect.get() || !batch.is_empty() || Checkpoints::is_too_long(&self.look) {
                break;
            }
        }
        // Before the read ends.
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
            // Nothing of it was kept, so it can be done again.
            Outcome::NoRoom | Outcome::GivenUp => {}
            Outcome::Failed(error) => self.fail(batch, error),
        }
    }

    /// Writes what could not be written together, so that only what cannot be written fails: on a full disk, others still
    /// fit. Between two transactions, and while nothing is copied beside.
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
        // It may have been the log that had no more room.
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
            // It knows itself what is wrong.
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

    /// Pages of the file, within the transaction those that it would have.
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
        // Before anybody is answered: whoever reads after an answer finds what it says.
        transaction.withheld.publish();
        if self.connection.total_changes() != changes {
            self.counters.commits.fetch_add(1, Ordering::Relaxed);
        }
        Outcome::Committed
    }

    /// Makes one write of a transaction, and undoes it if there is no room for it.
    fn step(&self, job: &mut dyn Job, transaction: &mut Transaction<'_>) -> rusqlite::Result<()> {
        self.statement("SAVEPOINT step")?;
        transaction.withheld.begin_step();
        job.execute(transaction);
        // If it gave up the whole transaction, there is no step any more.
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

/// How the writes of a transaction are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Steps {
    /// All or none of them.
    Together,
    /// Each may be undone by itself.
    One,
}
