//! Checkpoints: copying the WAL into the file, on a thread of its own. Copying thousands of pages and waiting for the disk
//! to sync them would block every write meanwhile.
//!
//! The WAL restarts only if all of it is in the file when a write begins. Another thread cannot reach that state while
//! writes continue. So the thread copies most pages, in as many passes as needed, and the writer copies the rest.
//!
//! SQLite syncs the file only after a copy of the whole WAL, and counts pages as copied before our sync of them. Until that
//! sync, the WAL must not restart, and nothing may be written that was read from those pages in the file. So the writer
//! keeps a read transaction open from before the copy: it keeps reading the WAL, and the WAL cannot restart. For a sync
//! that fails, see `health`.

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

/// Pages in the WAL that start a checkpoint. A checkpoint writes each changed page once however often it changed; the WAL
/// also has to be read at a start after a crash.
const LONG: u32 = 4_000;

/// Pages in the WAL from which the writer blocks until the checkpoint is done: the disk is slower than the writes, or a
/// long reader blocked it.
const TOO_LONG: u32 = 16_000;

/// The most pages that the writer copies itself: a few milliseconds of work.
const FEW: u32 = 1_000;

/// How long the writer waits for readers to release the WAL when the disk is full. Readers of this process are faster.
const SHORT: Duration = Duration::from_millis(50);

/// What the writer does about the WAL between two transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// Nothing.
    None,
    /// [Start a copy](Checkpoints::begin) on the thread while it keeps writing.
    Beside,
}

/// The state of the thread.
#[derive(Debug, Default, PartialEq, Eq)]
enum Turn {
    #[default]
    Idle,
    /// A copy was requested or is in progress.
    Copying,
}

/// The state shared by the writer and the thread.
pub(super) struct Checkpoints {
    asked: Queue<()>,
    turn: Mutex<Turn>,
    ended: Condvar,
    file: Arc<OwnedFile>,
    health: Arc<Health>,
}

/// However a copy ends, waiters are released.
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

    /// Recovers a WAL that another process may have left: all of it is copied into the file and synced before anything is
    /// appended. It may end in writes whose sync failed; what is appended after those would not survive power loss.
    ///
    /// # Errors
    /// SQLite's, if the disk failed to store it. If the disk is full, or a reader blocks it, the WAL stays as it is.
    pub(super) fn adopt(&self, connection: &Connection) -> rusqlite::Result<()> {
        match self.checked(Log::restart, connection, Beside::Nobody) {
            Err(error) if is_failed_sync(&error) => Err(error),
            // Already logged.
            Err(_) | Ok(_) => Ok(()),
        }
    }

    /// Checkpoints on the writer's thread, between two transactions and while no copy is in progress.
    pub(super) fn tend(&self, writer: &Connection, look: &Connection, room: &Room) -> rusqlite::Result<Care> {
        let log = Log::look(look)?;
        self.health.overdue.saw(log, self.file.path(), Instant::now());
        let (is_full, is_untrusted) = (self.health.is_full(), self.health.is_untrusted());
        // On a full disk the WAL must stay within its reserved space.
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

    /// Frees disk space: makes the next write restart the WAL, and truncates the WAL to its reserved size. Returns whether
    /// readers allowed it. Must be called by the writer, between two transactions and while no copy is in progress.
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

    /// Whether the WAL is so long that the writer must wait for the copy in progress.
    pub(super) fn is_too_long(look: &Connection) -> bool {
        Log::look(look).map_or(true, |log| log.pages >= TOO_LONG)
    }

    /// Starts a copy on the thread. Must be called by the writer while it has a read transaction open.
    pub(super) fn begin(&self) {
        *self.turn() = Turn::Copying;
        if self.asked.push(()).is_err() {
            *self.turn() = Turn::Idle;
        }
    }

    /// Whether a copy is in progress.
    pub(super) fn is_copying(&self) -> bool {
        *self.turn() == Turn::Copying
    }

    /// Waits until no copy is in progress.
    pub(super) fn wait(&self) {
        let mut turn = self.turn();
        while *turn == Turn::Copying {
            turn = self.ended.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The thread: copies on request until it is closed.
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

    /// The last checkpoint when a store closes: copies everything into the file, and allows SQLite to delete the WAL when
    /// `writer`, the last connection, is closed. By default SQLite would delete it after a failed sync, too.
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

    /// Runs a copy safely: syncs what SQLite itself did not sync, and never retries a failed sync.
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
            // No page counts as copied.
            Err(_) => {}
            // SQLite has synced it: the WAL did not grow meanwhile.
            Ok(log) if log.left() == 0 && beside == Beside::Nobody => {}
            Ok(_) => {
                if let Err(error) = self.file.sync() {
                    self.health.distrust(&self.file, &error);
                }
            }
        }
        // If the sync failed, no record is cached from now on either.
        self.health.set_unsynced(false);
        copied
    }
}

/// Who may append to the WAL during the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nobody,
    Writer,
}

/// Opens the connection of the checkpoint thread, and one that reads the size of the WAL.
pub(super) fn connect(path: &Path, synchronous: &str) -> rusqlite::Result<(Connection, Connection)> {
    let connect = || -> rusqlite::Result<Connection> {
        let connection = to_write(path, synchronous)?;
        keep_log(&connection, true)?;
        // Only a connection that has read the file knows that there is a WAL.
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(connection)
    };
    Ok((connect()?, connect()?))
}

/// Rejects a file that the previous owner could not sync. SQLite forgets which pages it counted as copied when the last
/// connection closes, and then the whole WAL is copied again. But another process that reads the file keeps that state
/// alive.
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
