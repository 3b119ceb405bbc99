//! Scans: queries that read a great part of the file, such as the counts.
//!
//! They have a thread and a connection of their own, so that they never block a reader. A scan whose caller is gone is
//! cancelled, or not started.

use std::ffi::c_int;
use std::path::Path;
use std::sync::Weak;

use rusqlite::Connection;

use super::connection;
use super::queue::{Abandon, Queue};
use super::reader::Query;

/// Steps of SQLite's virtual machine between two checks for cancellation: some hundred microseconds.
const STEPS: c_int = 10_000;

/// Negative means KiB: a scan reads each page once, so a small cache is enough.
const CACHE_KIB: i32 = -2_048;

/// A query, and a guard that lives as long as its caller waits.
pub(super) struct Scan {
    pub(super) caller: Weak<()>,
    pub(super) query: Query,
}

/// Opens the thread's connection.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connection::to_read(path)?;
    connection.pragma_update(None, "cache_size", CACHE_KIB)?;
    Ok(connection)
}

/// Runs one scan after the other until the queue is closed.
pub(super) fn run(mut connection: Connection, queue: &Queue<Scan>) {
    let _abandon = Abandon(queue);
    let mut scans = Vec::with_capacity(1);
    while queue.wait() {
        queue.take(1, &mut scans);
        for Scan { caller, query } in scans.drain(..) {
            let nobody_waits = move || caller.strong_count() == 0;
            if nobody_waits() {
                continue;
            }
            if let Err(error) = connection.progress_handler(STEPS, Some(nobody_waits)) {
                tracing::debug!(%error, "a scan of the SQLite file cannot be interrupted");
            }
            query(&connection);
        }
    }
}
