//! SQLite connections to the file.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

/// How long a connection waits for locks of other connections on the file or its WAL.
pub(super) const BUSY: Duration = Duration::from_secs(1);

/// The WAL is truncated to this size, in bytes, after a long reader made it grow.
const MAX_LOG_BYTES: u32 = 64 << 20;

/// Opens a connection that reads.
pub(super) fn to_read(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    tune(&connection)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Opens a connection that writes, to the WAL or by checkpoints to the file.
pub(super) fn to_write(path: &Path, synchronous: &str) -> rusqlite::Result<Connection> {
    // Without CREATE: the file already exists, with the right mode.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    tune(&connection)?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", MAX_LOG_BYTES)?;
    Ok(connection)
}

/// Settings of all connections.
fn tune(connection: &Connection) -> rusqlite::Result<()> {
    // Only another program that uses the file can keep it locked.
    connection.busy_timeout(BUSY)?;
    // Every statement of this store stays prepared.
    connection.set_prepared_statement_cache_capacity(48);
    // Negative means KiB: up to 32 MiB of pages, if the file is that large.
    connection.pragma_update(None, "cache_size", -32_768)
}

/// Whether SQLite keeps the WAL, without a checkpoint, when this connection is the last to close.
pub(super) fn keep_log(connection: &Connection, keep: bool) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep).map(drop)
}
