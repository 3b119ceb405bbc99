//! Connections of SQLite to the file.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

/// How long a connection waits for others to let go of the file or its log.
pub(super) const BUSY: Duration = Duration::from_secs(1);

/// The log is cut back to this size, in bytes, once a long reader had made it grow.
const MAX_LOG_BYTES: u32 = 64 << 20;

/// Opens one that reads.
pub(super) fn to_read(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    tune(&connection)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Opens one that writes, to the log or from there to the file.
pub(super) fn to_write(path: &Path, synchronous: &str) -> rusqlite::Result<Connection> {
    // Without CREATE: the file was made before, with the right mode.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    tune(&connection)?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", MAX_LOG_BYTES)?;
    Ok(connection)
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

/// Whether SQLite leaves the log where it is, and copies nothing, when this connection is closed as the last one.
pub(super) fn keep_log(connection: &Connection, keep: bool) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep).map(drop)
}
