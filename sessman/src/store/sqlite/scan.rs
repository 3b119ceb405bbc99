//! Scans: questions for which a great part of the file is read, such as how many sessions there are.
//!
//! They have one thread and one connection, so that no reader is busy with one when a session is asked for. One that
//! nobody waits for any more is not begun, and given up if it was.

use std::ffi::c_int;
use std::path::Path;
use std::sync::Weak;

use rusqlite::Connection;

use super::connection;
use super::queue::{Abandon, Queue};
use super::reader::Query;

/// Steps of SQLite's machine after which it looks whether somebody waits still: some hundred microseconds.
const STEPS: c_int = 10_000;

/// In KiB, as SQLite has it: a scan reads each page once.
const CACHE_KIB: i32 = -2_048;

/// A question, and what lives for as long as its caller waits.
pub(super) struct Scan {
    pub(super) caller: Weak<()>,
    pub(super) query: Query,
}

/// Opens the connection of the thread.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connection::to_read(path)?;
    connection.pragma_update(None, "cache_size", CACHE_KIB)?;
    Ok(connection)
}

/// Answers one after the other until the queue is closed.
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
