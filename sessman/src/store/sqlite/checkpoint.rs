//! Putting the log into the file, beside the writer: to copy thousands of pages, and to wait until the disk has them,
//! would hold up every write meanwhile.
//!
//! A log starts anew only if all of it is in the file when a write begins, which another thread never sees while writes
//! go on. So that thread does the greater part, as often as it takes, and the writer the rest.
//!
//! SQLite syncs a copy only if it is of the whole log, and takes pages for copied before a sync of ours. Until that sync
//! the log must not start anew, and nothing may be written that was read from those pages in the file: meanwhile the
//! writer keeps a read of before open, with which it goes on reading the log, and which keeps the log from starting anew.
//! When the sync fails, see `health`.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::connection::{BUSY, keep_log, to_write};
use super::failure::is_failed_sync;
use super::file::OwnedFile;
use super::health::Health;
use super::log::Log;
use super::queue::{Abandon, Queue};
use super::room::Room;
use super::schema::SchemaError;
use crate::store::StoreError;

/// Pages in the log at which it is put into the file. A checkpoint writes each changed page once however often it
/// changed; the log is also what a start after a crash has to read.
const LONG: u32 = 4_000;

/// Pages in the log at which the writer waits until they are in the file: the disk is slower than the writes are, or a
/// reader that was at it for long held them back.
const TOO_LONG: u32 = 16_000;

/// Pages that the writer puts into the file itself: a few milliseconds of work.
const FEW: u32 = 1_000;

/// How long the writer waits for readers to let go of the log when the disk is full. Those of this process take less.
const SHORT: Duration = Duration::from_millis(50);

/// What the writer has to do about the log between two transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// Nothing.
    None,
    /// [Begin a copy](Checkpoints::begin) beside its work.
    Beside,
}

/// What the thread is doing.
#[derive(Debug, Default, PartialEq, Eq)]
enum Turn {
    #[default]
    Idle,
    /// It was asked, or is at it.
    Copying,
}

/// What writer and thread have in common.
pub(super) struct Checkpoints {
    asked: Queue<()>,
    turn: Mutex<Turn>,
    ended: Condvar,
    file: Arc<OwnedFile>,
    health: Arc<Health>,
}

/// However a copy ends, nobody waits for it any longer.
struct End<'a>(&'a Checkpoints);

impl Drop for End<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.health.distrust(&self.0.file, &"the thread that copies its log has panicked");
        }
        *self.0.turn() = Turn::Idle;
        self.0.ended.notify_all();
    }
}

impl Checkpoints {
    pub(super) fn new(file: Arc<OwnedFile>, health: Arc<Health>) -> Self {
        Self { asked: Queue::new(1), turn: Mutex::default(), ended: Condvar::new(), file, health }
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a log that another process may have left: all of it goes into the file, and is synced, before anything is
    /// added. It may end in writes whose sync had failed, behind which nothing would survive a loss of power.
    ///
    /// # Errors
    /// SQLite's, if the disk failed to keep it. Where there is no room for it, or a reader holds it back, it stays.
    pub(super) fn adopt(&self, connection: &Connection) -> rusqlite::Result<()> {
        match self.checked(Log::restart, connection, Beside::Nobody) {
            Err(error) if is_failed_sync(&error) => Err(error),
            // It has said so.
            Err(_) | Ok(_) => Ok(()),
        }
    }

    /// Looks after the log, on the writer's thread, between two transactions and while nothing is copied beside.
    pub(super) fn tend(&self, writer: &Connection, look: &Connection, room: &Room) -> rusqlite::Result<Care> {
        let log = Log::look(look)?;
        self.health.overdue.saw(log, self.file.path(), Instant::now());
        let (is_full, is_untrusted) = (self.health.is_full(), self.health.is_untrusted());
        // The room that it has must do while there is no more.
        let long = if is_full { room.short_log().min(LONG) } else { LONG };
        if log.pages < long || is_untrusted {
            return Ok(Care::None);
        }
        if log.pages < TOO_LONG && log.left() > FEW {
            return Ok(Care::Beside);
        }
        room.look_again();
        self.checked(Log::copy, writer, Beside::Nobody)?;
        Ok(Care::None)
    }

    /// Makes room: has the next write start the log anew, and gives back what it has beyond what it keeps. Says whether
    /// readers let it. To be called by the writer, between two transactions and while nothing is copied beside.
    pub(super) fn make_room(&self, writer: &Connection, room: &Room) -> rusqlite::Result<bool> {
        if self.health.is_untrusted() {
            return Ok(false);
        }
        room.look_again();
        writer.busy_timeout(SHORT)?;
        let log = match room.is_log_large() {
            false => self.checked(Log::restart, writer, Beside::Nobody),
            true => {
                let log = self.checked(Log::truncate, writer, Beside::Nobody);
                room.keep();
                log
            }
        };
        writer.busy_timeout(BUSY)?;
        log.map(|log| !log.is_busy && !self.health.is_untrusted())
    }

    /// Whether the log is so long that the writer waits for the copy that is being made.
    pub(super) fn is_too_long(look: &Connection) -> bool {
        Log::look(look).map_or(true, |log| log.pages >= TOO_LONG)
    }

    /// Has the thread copy the log. To be called by the writer while it has a read open.
    pub(super) fn begin(&self) {
        *self.turn() = Turn::Copying;
        if self.asked.push(()).is_err() {
            *self.turn() = Turn::Idle;
        }
    }

    /// Whether a copy was begun and has not ended.
    pub(super) fn is_copying(&self) -> bool {
        *self.turn() == Turn::Copying
    }

    /// Waits until no copy is being made.
    pub(super) fn wait(&self) {
        let mut turn = self.turn();
        while *turn == Turn::Copying {
            turn = self.ended.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Copies when it is asked, until it is closed.
    pub(super) fn run(&self, connection: &Connection) {
        let _abandon = Abandon(&self.asked);
        let mut asked = Vec::new();
        while self.asked.wait() {
            self.asked.take(1, &mut asked);
            asked.clear();
            let _end = End(self);
            if let Err(error) = self.checked(Log::copy, connection, Beside::Writer) {
                tracing::debug!(%error, "the SQLite store's log is put into its file another time");
            }
        }
    }

    pub(super) fn close(&self) {
        self.asked.close();
    }

    /// At the end of a store: puts everything into the file, and lets SQLite remove the log when `writer`, the last
    /// connection, is closed. By itself it would do so after a sync that failed, too.
    pub(super) fn end(&self, writer: &Connection) {
        if self.health.is_untrusted() {
            return;
        }
        let left = match self.checked(Log::truncate, writer, Beside::Nobody) {
            Ok(log) if log.pages == 0 => keep_log(writer, false),
            Ok(_) => Err(rusqlite::Error::QueryReturnedNoRows),
            Err(error) => Err(error),
        };
        if let Err(error) = left
            && !self.health.is_untrusted()
        {
            tracing::warn!(%error, "the SQLite store's log could not be put into its file; the next start does it");
        }
    }

    /// A step that copies, and what makes it safe: what SQLite itself did not sync is synced, and no failed sync is
    /// tried again.
    fn checked(
        &self,
        step: impl FnOnce(&Connection) -> rusqlite::Result<Log>,
        connection: &Connection,
        beside: Beside,
    ) -> rusqlite::Result<Log> {
        self.health.set_unsynced(true);
        let copied = step(connection);
        self.health.overdue.copied(&copied, self.file.path(), Instant::now());
        match &copied {
            Err(error) if is_failed_sync(error) => self.health.distrust(&self.file, error),
            // Nothing is taken for copied.
            Err(_) => {}
            // SQLite has synced it: the log did not grow meanwhile.
            Ok(log) if log.left() == 0 && beside == Beside::Nobody => {}
            Ok(_) => {
                if let Err(error) = self.file.sync() {
                    self.health.distrust(&self.file, &error);
                }
            }
        }
        // If it failed, nothing is kept in memory from now on, either.
        self.health.set_unsynced(false);
        copied
    }
}

/// Who may add to the log while it is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nobody,
    Writer,
}

/// Opens the connections of the thread that copies, and of whoever looks at the log.
pub(super) fn connect(path: &Path, synchronous: &str) -> rusqlite::Result<(Connection, Connection)> {
    let connect = || -> rusqlite::Result<Connection> {
        let connection = to_write(path, synchronous)?;
        keep_log(&connection, true)?;
        // Only a connection that has read the file knows that there is a log.
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(connection)
    };
    Ok((connect()?, connect()?))
}

/// The owner before this one could not sync the file. What SQLite took for copied then is forgotten with its last
/// connection, and the whole log is copied again; but another process that reads the file keeps it remembered.
pub(super) fn refuse_lost_pages(connection: &Connection, file: &OwnedFile) -> Result<(), SchemaError> {
    if !file.was_unsynced() {
        return Ok(());
    }
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    if Log::look(connection).is_ok_and(|log| log.copied > 0) {
        return Err(SchemaError::Store(StoreError::InUse(format!(
            "{} was not kept by the disk, and is still being read by another process, which keeps its log from being \
             copied anew; end that process (sessctl backup, or another program at the file), then start again",
            file.path().display()
        ))));
    }
    Ok(())
}
