//! Putting the log into the file, beside the writer: to copy thousands of pages, and to wait until the disk has them,
//! would hold up every write meanwhile.
//!
//! A log starts anew only if all of it is in the file when a write begins, which another thread never sees while writes
//! go on. So that thread does the greater part, as often as it takes, and the writer the rest.

use std::sync::{Mutex, PoisonError, TryLockError};

use rusqlite::Connection;

use super::file::OwnedFile;
use super::queue::{Abandon, Queue};

/// Pages in the log at which it is put into the file. A checkpoint writes each changed page once however often it
/// changed; the log is also what a start after a crash has to read.
const LONG: u32 = 4_000;

/// Pages in the log at which the writer waits until they are in the file: the disk is slower than the writes are, or a
/// reader that was at it for long held them back.
const TOO_LONG: u32 = 16_000;

/// Pages that the writer puts into the file itself: a few milliseconds of work.
const FEW: u32 = 1_000;

/// What writer and thread have in common.
pub(super) struct Checkpoints {
    asked: Queue<()>,
    /// Held by who is at it.
    turn: Mutex<()>,
}

/// How much is in the log, in pages.
struct Log {
    pages: u32,
    /// Of them, those that are in the file, too.
    copied: u32,
}

impl Log {
    fn checkpoint(connection: &Connection, pragma: &str) -> rusqlite::Result<Self> {
        connection
            .prepare_cached(pragma)?
            .query_row([], |row| Ok(Self { pages: row.get(1)?, copied: row.get(2)? }))
    }

    fn look(connection: &Connection) -> rusqlite::Result<Self> {
        Self::checkpoint(connection, "PRAGMA wal_checkpoint(NOOP)")
    }

    /// Copies what no reader holds back, waiting for nobody.
    fn copy(connection: &Connection) -> rusqlite::Result<Self> {
        Self::checkpoint(connection, "PRAGMA wal_checkpoint(PASSIVE)")
    }
}

impl Checkpoints {
    pub(super) fn new() -> Self {
        Self { asked: Queue::new(1), turn: Mutex::new(()) }
    }

    /// Looks after the log, on the writer's thread and between two transactions.
    pub(super) fn tend(&self, connection: &Connection) -> rusqlite::Result<()> {
        let log = Log::look(connection)?;
        if log.pages < LONG {
            return Ok(());
        }
        let is_too_long = log.pages >= TOO_LONG;
        let turn = match self.turn.try_lock() {
            Err(TryLockError::WouldBlock) if is_too_long => {
                self.turn.lock().unwrap_or_else(PoisonError::into_inner)
            }
            Err(TryLockError::WouldBlock) => return Ok(()),
            Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
            Ok(turn) => turn,
        };
        if is_too_long || log.pages.saturating_sub(log.copied) <= FEW {
            return Log::copy(connection).map(drop);
        }
        drop(turn);
        // One that was asked already will come to it.
        let _ = self.asked.push(());
        Ok(())
    }

    /// Copies when it is asked, until it is closed.
    pub(super) fn run(&self, connection: &Connection, file: &OwnedFile) {
        let _abandon = Abandon(&self.asked);
        let mut asked = Vec::new();
        while self.asked.wait() {
            self.asked.take(1, &mut asked);
            asked.clear();
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = copy(connection, file) {
                tracing::debug!(%error, "the SQLite store's log is put into its file another time");
            }
        }
    }

    pub(super) fn close(&self) {
        self.asked.close();
    }
}

/// A copy of a log that goes on growing is not synced by SQLite. The writer's, which makes it whole, then has little to
/// wait for.
fn copy(connection: &Connection, file: &OwnedFile) -> Result<(), Box<dyn std::error::Error>> {
    let before = Log::look(connection)?;
    let after = Log::copy(connection)?;
    if after.copied > before.copied {
        file.sync()?;
    }
    Ok(())
}
