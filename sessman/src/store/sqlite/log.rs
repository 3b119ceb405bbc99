//! The log beside the file: how much is in it, and how it gets into the file.

use rusqlite::Connection;

/// A page of the log, with what goes before it.
pub(super) const LOG_PAGE: u64 = PAGE + 24;
/// A page of the file.
pub(super) const PAGE: u64 = 4_096;

/// How much is in the log, in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Log {
    pub(super) pages: u32,
    /// Of them, those that are in the file, too.
    pub(super) copied: u32,
    /// Readers kept it from doing what was asked.
    pub(super) is_busy: bool,
}

impl Log {
    fn checkpoint(connection: &Connection, pragma: &str) -> rusqlite::Result<Self> {
        connection
            .prepare_cached(pragma)?
            .query_row([], |row| Ok(Self { is_busy: row.get(0)?, pages: row.get(1)?, copied: row.get(2)? }))
    }

    /// What is in it now. The connection must be within no transaction.
    pub(super) fn look(connection: &Connection) -> rusqlite::Result<Self> {
        Self::checkpoint(connection, "PRAGMA wal_checkpoint(NOOP)")
    }

    /// Copies what no reader holds back, waiting for nobody.
    pub(super) fn copy(connection: &Connection) -> rusqlite::Result<Self> {
        Self::checkpoint(connection, "PRAGMA wal_checkpoint(PASSIVE)")
    }

    /// Copies all, and has the next write start the log anew, if readers let go of it within the time for which a
    /// connection waits.
    pub(super) fn restart(connection: &Connection) -> rusqlite::Result<Self> {
        Self::checkpoint(connection, "PRAGMA wal_checkpoint(RESTART)")
    }

    /// As [`restart`](Self::restart), and leaves an empty log.
    pub(super) fn truncate(connection: &Connection) -> rusqlite::Result<Self> {
        Self::checkpoint(connection, "PRAGMA wal_checkpoint(TRUNCATE)")
    }

    /// Pages that are not in the file yet.
    pub(super) fn left(self) -> u32 {
        self.pages.saturating_sub(self.copied)
    }
}
