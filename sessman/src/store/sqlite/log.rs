//! The WAL: its size, and its checkpoints.

use rusqlite::Connection;

/// A page in the WAL with its frame header, in bytes.
pub(super) const LOG_PAGE: u64 = PAGE + 24;
/// A page of the file, in bytes.
pub(super) const PAGE: u64 = 4_096;

/// The size of the WAL, in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Log {
    pub(super) pages: u32,
    /// The pages of these that are already copied into the file.
    pub(super) copied: u32,
    /// Readers blocked the checkpoint.
    pub(super) is_busy: bool,
}

impl Log {
    fn checkpoint(connection: &Connection, pragma: &str) -> rusqlite::Result<Self> {
        connection
            .prepare_cached(pragma)?
            .query_row([], |row| Ok(Self { is_busy: row.get(0)?, pages: row.get(1)?, copied: row.get(2)? }))
    }

    /// Its current size. The connection must not be in a transaction.
    pub(super) fn look(connection: &Connection) -> rusqlite::Result<Self> {
        Self::checkpoint(connection, "PRAGMA wal_checkpoint(NOOP)")
    }

    /// Passive checkpoint: copies what no reader blocks, without waiting.
    pub(super) fn copy(connection: &Connection) -> rusqlite::Result<Self> {
        Self::checkpoint(connection, "PRAGMA wal_checkpoint(PASSIVE)")
    }

    /// Copies everything, and lets the next write restart the WAL, if readers release it within the connection's busy timeout.
    pub(super) fn restart(connection: &Connection) -> rusqlite::Result<Self> {
        Self::checkpoint(connection, "PRAGMA wal_checkpoint(RESTART)")
    }

    /// Like [`restart`](Self::restart), and truncates the WAL to zero.
    pub(super) fn truncate(connection: &Connection) -> rusqlite::Result<Self> {
        Self::checkpoint(connection, "PRAGMA wal_checkpoint(TRUNCATE)")
    }

    /// Pages that are not copied yet.
    pub(super) fn left(self) -> u32 {
        self.pages.saturating_sub(self.copied)
    }
}
