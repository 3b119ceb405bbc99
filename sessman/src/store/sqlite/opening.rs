//! Opens a store: locks its file and starts its threads.

use std::cell::Cell;
use std::sync::Arc;
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::answers::Answers;
use super::cache::Cache;
use super::checkpoint::Checkpoints;
use super::counters::Counters;
use super::failure::opening_error;
use super::file::OwnedFile;
use super::health::Health;
use super::queue::Queue;
use super::reader::Query;
use super::room::Room;
use super::schema::SchemaError;
use super::settings::{Durability, SqliteConfig};
use super::state::SqliteStore;
use super::waiting::{MAX_WAITING_BYTES, Waiting};
use super::writer::Writer;
use super::{checkpoint, connection, reader, scan, schema};
use crate::budget::Budget;
use crate::store::{Result, StoreError};
use crate::time::Clock;

/// Threads that read: while one waits for the disk, another can reply.
pub(super) const READERS: usize = 2;

/// The most queued calls for the writer, and as many for the readers: more than they can finish within a request's deadline.
const MAX_WAITING: usize = 4_096;

impl SqliteStore {
    /// Opens the file, and creates it if it is missing. Blocks meanwhile. Expiry is checked by `clock`, the engine's clock, at
    /// the time of a write. Cache and queued writes are charged to `budget`.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process owns the file. [`StoreError::Unusable`] with the path and the remedy: the
    /// folder is missing, or the file is not a SQLite file, is corrupt, belongs to another application or to a newer version.
    /// [`StoreError::Unavailable`] when SQLite fails otherwise, for example on a full disk.
    pub fn open(config: SqliteConfig, clock: Arc<dyn Clock>, budget: &Arc<dyn Budget>) -> Result<Self> {
        let file = Arc::new(OwnedFile::acquire(&config.path)?);
        let path = file.path().to_owned();
        let sqlite_error = |error| opening_error(&path, error);
        let synchronous = match config.durability {
            Durability::Full => "FULL",
            Durability::Normal => "NORMAL",
        };
        let mut connection = connection::to_write(&path, synchronous).map_err(sqlite_error)?;
        checkpoint::refuse_lost_pages(&connection, &file).map_err(|error| match error {
            SchemaError::Sqlite(error) => sqlite_error(error),
            SchemaError::Store(error) => error,
        })?;
        schema::prepare(&mut connection, &path).map_err(|error| match error {
            SchemaError::Sqlite(error) => sqlite_error(error),
            SchemaError::Store(error) => error,
        })?;

        connection::keep_log(&connection, true).map_err(sqlite_error)?;
        let health = Arc::new(Health::default());
        let checkpoints = Arc::new(Checkpoints::new(file.clone(), health.clone()));
        checkpoints.adopt(&connection).map_err(sqlite_error)?;
        let room = Room::new(file.clone(), health.clone())
            .map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        room.keep();
        health.check()?;
        file.sync_folders()?;
        file.settle();

        let connections = (0..READERS)
            .map(|_| connection::to_read(&path))
            .collect::<rusqlite::Result<Vec<_>>>()
            .map_err(sqlite_error)?;
        let scanning = scan::connect(&path).map_err(sqlite_error)?;
        let (log, look) = checkpoint::connect(&path, synchronous).map_err(sqlite_error)?;
        let (jobs, queries) = (Arc::new(Queue::new(MAX_WAITING)), Arc::new(Queue::new(MAX_WAITING)));
        let scans = Arc::new(Queue::new(MAX_WAITING));
        let (counters, answers) = (Arc::new(Counters::default()), Arc::new(Answers::default()));
        let cache = Arc::new(Cache::new(config.cache_bytes, budget));
        let threads = start(connections, &queries).and_then(|mut helpers| {
            helpers.push(spawn("sqlite-scan", {
                let scans = scans.clone();
                move || scan::run(scanning, &scans)
            })?);
            helpers.push(spawn("sqlite-log", {
                let checkpoints = checkpoints.clone();
                move || {
                    checkpoints.run(&log);
                    // Must close before the file's lock may be released.
                    drop(log);
                }
            })?);
            let checkpoints = checkpoints.clone();
            let (jobs, answers) = (jobs.clone(), answers.clone());
            let (queries, scans) = (queries.clone(), scans.clone());
            let (counters, cache) = (counters.clone(), cache.clone());
            let writer = Writer {
                connection,
                look,
                file,
                health: health.clone(),
                jobs,
                answers,
                counters,
                cache,
                suspect: Cell::new(false),
                refused: Cell::new(false),
                room,
                queries,
                scans,
                checkpoints,
                helpers,
                clock,
            };
            spawn("sqlite-write", move || writer.run())
        });
        // If one thread cannot be started, those already started must end.
        let writer = threads.inspect_err(|_| {
            queries.close();
            scans.close();
            checkpoints.close();
        })?;
        Ok(Self {
            path,
            jobs,
            waiting: Waiting::new(MAX_WAITING_BYTES, budget),
            answers,
            queries,
            scans,
            cache,
            counters,
            health,
            writer: tokio::sync::Mutex::new(Some(writer)),
        })
    }
}

/// Starts a reader thread for each of the connections.
fn start(connections: Vec<Connection>, queries: &Arc<Queue<Query>>) -> Result<Vec<JoinHandle<()>>> {
    connections
        .into_iter()
        .map(|connection| {
            let queries = queries.clone();
            spawn("sqlite-read", move || reader::run(&connection, &queries))
        })
        .collect()
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .map_err(|error| StoreError::Unavailable(Box::new(error)))
}
