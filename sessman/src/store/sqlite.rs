//! The store in a SQLite file: embedded, nothing to install, and an acknowledged write is on disk.
//!
//! One thread writes and commits waiting writes in groups (group commit); others read concurrently. One process owns the
//! file, by a lock on it.
//!
//! - [`SqliteConfig`]: where the file is; `config`: the keys of `sessman.json`
//! - [`SqliteStore`]: the store; `opening`: opens the file and starts the threads; `state`: sends work to them; `store`: the
//!   operations
//! - `connection`: SQLite connections to read and to write
//! - `file`: the file on disk and its lock
//! - `schema`: its layout, and how it is recognised
//! - `row`: a record as a row
//! - `cache`: a cache of records in memory
//! - `queue`: between callers and threads; `waiting`: memory quota of queued writes
//! - `reader`, `scan`, `writer`, `checkpoint`: the threads
//! - `listing`, `counting`: queries over many records; `questions`: all queries as closures for a thread
//! - `operation`, `deletion`, `claims`: the writes; `job`: a write and its caller; `answers`: replies of the writer to its
//!   callers; `counters`: write counters
//! - `view`: read-only access to a file that another process may own
//! - `health`: whether a sync has failed; `room`: disk space reserved for a full disk; `log`: the size of the WAL;
//!   `overdue`: warnings about a WAL that grows
//! - `metrics`: the Prometheus metrics of these
//! - `failure`: from SQLite's errors to the store's

mod answers;
mod cache;
mod checkpoint;
mod claims;
mod config;
mod connection;
mod counters;
mod counting;
mod deletion;
mod failure;
mod file;
mod health;
mod job;
mod listing;
mod log;
mod metrics;
mod opening;
mod operation;
mod overdue;
mod questions;
mod queue;
mod reader;
mod room;
mod row;
mod scan;
mod schema;
mod settings;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod view;
mod waiting;
mod writer;

pub(super) use config::SqliteKeys;
pub use counters::WriteCounts;
pub use settings::{CACHE_BYTES, Durability, SqliteConfig};
pub use state::SqliteStore;
pub use view::SqliteView;
