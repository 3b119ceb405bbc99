//! The store in a SQLite file: embedded, nothing to install, and an answered write is on disk.
//!
//! One thread writes and groups the writes that wait into one commit; others read beside it. One process owns the
//! file, by a lock file.
//!
//! - [`SqliteConfig`]: where the file is; [`SqliteStore`]: the store
//! - `file`: the file on disk and its lock
//! - `schema`: its layout, and how it is recognised
//! - `row`: a record as a row
//! - `cache`: records in front of the file
//! - `queue`: between callers and threads
//! - `reader`, `writer`, `checkpoint`: the threads; `operation`, `claims`: what the writer does
//! - `answers`: from the writer to its callers
//! - `view`: a file that another process may own, to read from
//! - `failure`: SQLite's errors in the contract's terms

//WIP mod answers;
//WIP mod cache;
//WIP mod checkpoint;
//WIP mod claims;
mod config;
//WIP mod failure;
//WIP mod file;
//WIP mod operation;
//WIP mod queue;
//WIP mod reader;
//WIP mod row;
//WIP mod schema;
//WIP mod store;
//WIP #[cfg(test)]
//WIP mod tests;
//WIP mod view;
//WIP mod writer;

use std::time::Duration;

use rusqlite::Connection;

pub use config::{CACHE_BYTES, Durability, SqliteConfig};
//WIP pub use store::SqliteStore;
//WIP pub use view::SqliteView;
//WIP pub use writer::WriteCounts;

/// What reading and writing connections have in common.
fn tune(connection: &Connection) -> rusqlite::Result<()> {
    // Only somebody else's program at the file can keep it busy.
    connection.busy_timeout(Duration::from_secs(1))?;
    // Every statement of this store stays prepared.
    connection.set_prepared_statement_cache_capacity(32);
    // In KiB, as SQLite has it: up to 32 MiB of pages, of a file that large.
    connection.pragma_update(None, "cache_size", -32_768)
}
