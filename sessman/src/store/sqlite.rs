//! The store in a SQLite file: embedded, nothing to install, and an answered write is on disk.
//!
//! One thread writes and groups the writes that wait into one commit; others read beside it. One process owns the
//! file, by a lock on it.
//!
//! - [`SqliteConfig`]: where the file is; `config`: the keys of `sessman.json`; [`SqliteStore`]: the store
//! - `file`: the file on disk and its lock
//! - `schema`: its layout, and how it is recognised
//! - `row`: a record as a row
//! - `cache`: records in front of the file
//! - `queue`: between callers and threads; `waiting`: how much memory what waits may take
//! - `reader`, `scan`, `writer`, `checkpoint`: the threads
//! - `listing`, `counting`: what is read of many; `operation`, `deletion`, `claims`: what the writer does
//! - `answers`: from the writer to its callers
//! - `view`: a file that another process may own, to read from
//! - `health`: whether the disk can be trusted; `room`: what is kept of it for when it is full; `overdue`: a log that grows
//! - `metrics`: what is shown of them
//! - `failure`: SQLite's errors in the contract's terms

mod answers;
mod cache;
mod checkpoint;
mod claims;
mod config;
mod counting;
mod deletion;
mod failure;
mod file;
mod health;
mod listing;
mod metrics;
mod operation;
mod overdue;
mod queue;
mod reader;
mod room;
mod row;
mod scan;
mod schema;
mod settings;
mod store;
#[cfg(test)]
mod tests;
mod view;
mod waiting;
mod writer;

use std::time::Duration;

use rusqlite::Connection;

pub(super) use config::SqliteKeys;
pub use settings::{CACHE_BYTES, Durability, SqliteConfig};
pub use store::SqliteStore;
pub use view::SqliteView;
pub use writer::WriteCounts;

/// How long a connection waits for others to let go of the file or its log.
const BUSY: Duration = Duration::from_secs(1);

/// What reading and writing connections have in common.
fn tune(connection: &Connection) -> rusqlite::Result<()> {
    // Only somebody else's program at the file can keep it busy.
    connection.busy_timeout(BUSY)?;
    // Every statement of this store stays prepared.
    connection.set_prepared_statement_cache_capacity(48);
    // In KiB, as SQLite has it: up to 32 MiB of pages, of a file that large.
    connection.pragma_update(None, "cache_size", -32_768)
}
