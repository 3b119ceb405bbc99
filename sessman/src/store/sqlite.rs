//! The store in a SQLite file: embedded, nothing to install, and an answered write is on disk.
//!
//! One thread writes and groups the writes that wait into one commit; others read beside it. One process owns the
//! file, by a lock on it.
//!
//! - [`SqliteConfig`]: where the file is; `config`: the keys of `sessman.json`
//! - [`SqliteStore`]: the store; `opening`: how its threads begin; `state`: how they are asked; `store`: what it does
//! - `connection`: SQLite's, to read and to write with
//! - `file`: the file on disk and its lock
//! - `schema`: its layout, and how it is recognised
//! - `row`: a record as a row
//! - `cache`: records in front of the file
//! - `queue`: between callers and threads; `waiting`: how much memory what waits may take
//! - `reader`, `scan`, `writer`, `checkpoint`: the threads
//! - `listing`, `counting`: what is read of many; `questions`: all of it, for whoever asks
//! - `operation`, `deletion`, `claims`: what the writer does; `job`: that, and who waits for it; `answers`: from the writer to its
//!   callers; `counters`: how much was written
//! - `view`: a file that another process may own, to read from
//! - `health`: whether the disk can be trusted; `room`: what is kept of it for when it is full; `log`: how much is
//!   in the log; `overdue`: one that grows
//! - `metrics`: what is shown of them
//! - `failure`: SQLite's errors in the contract's terms

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
