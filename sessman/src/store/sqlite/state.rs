//! The parts of an open store, and how it sends work to its threads.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::answers::Answers;
use super::cache::Cache;
use super::counters::{Counters, WriteCounts};
use super::failure::store_error;
use super::health::Health;
use super::job::{Call, Job};
use super::operation::Operation;
use super::queue::{Queue, Refused, Stopped};
use super::reader::Query;
use super::scan::Scan;
use super::waiting::{Share, Waiting};
use crate::store::{Result, StoreError};

/// Sessions in a SQLite file that this process owns.
pub struct SqliteStore {
    pub(super) path: PathBuf,
    pub(super) jobs: Arc<Queue<Box<dyn Job>>>,
    pub(super) waiting: Arc<Waiting>,
    pub(super) answers: Arc<Answers>,
    pub(super) queries: Arc<Queue<Query>>,
    pub(super) scans: Arc<Queue<Scan>>,
    pub(super) cache: Arc<Cache>,
    pub(super) counters: Arc<Counters>,
    pub(super) health: Arc<Health>,
    pub(super) writer: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

fn stopped(_: oneshot::error::RecvError) -> StoreError {
    StoreError::Unavailable(Box::new(Stopped))
}

fn refused(refused: Refused) -> StoreError {
    StoreError::Unavailable(Box::new(refused))
}

impl SqliteStore {
    /// Write counters since it was opened.
    pub fn write_counts(&self) -> WriteCounts {
        self.counters.read()
    }

    /// Runs `operation` on the writer; returns after its commit. If the caller is dropped before it starts, it is skipped; if
    /// later, it is completed.
    pub(super) async fn write<O: Operation>(&self, operation: O) -> Result<O::Output> {
        let _carrier = Carrier(self);
        let share = self.share(operation.bytes())?;
        let (job, answer) = Call::boxed(operation, Some(share));
        if let Err(error) = self.jobs.push(job) {
            self.forget_abandoned();
            return Err(refused(error));
        }
        answer.await.map_err(stopped)?
    }

    /// Takes a share of the memory quota of queued writes.
    fn share(&self, bytes: usize) -> Result<Share> {
        let share = self.waiting.take(bytes).or_else(|| {
            self.forget_abandoned();
            self.waiting.take(bytes)
        });
        share.ok_or_else(|| refused(Refused::Large(self.waiting.taken())))
    }

    /// While the disk hangs, callers give up after their deadline: their queued writes are dropped.
    fn forget_abandoned(&self) {
        self.jobs.retain(|job| !job.is_abandoned());
    }

    /// Runs `query` on a reader, over the committed state.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (caller, answer) = oneshot::channel();
        let query: Query = Box::new(move |connection| {
            // Skipped if the caller is gone, so that others wait less.
            if !caller.is_closed() {
                let _ = caller.send(query(connection));
            }
        });
        self.health.check()?;
        self.queries.push(query).map_err(refused)?;
        let answer = answer.await.map_err(stopped)?;
        // After a failed sync the query may have read pages that are lost.
        self.health.check()?;
        answer.map_err(|error| store_error(&self.path, &Arc::new(error)))
    }

    /// Like [`read`](Self::read), for scans of a great part of the file: one at a time, and cancelled when its caller is dropped.
    pub(super) async fn scan<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let waiting = Arc::new(());
        let (caller, answer) = oneshot::channel();
        let query: Query = Box::new(move |connection| {
            let _ = caller.send(query(connection));
        });
        self.health.check()?;
        self.scans.push(Scan { caller: Arc::downgrade(&waiting), query }).map_err(refused)?;
        let answer = answer.await;
        drop(waiting);
        self.health.check()?;
        answer.map_err(stopped)?.map_err(|error| store_error(&self.path, &Arc::new(error)))
    }
}

/// A caller of the writer. However its call ends, it delivers the replies that it was woken to deliver.
struct Carrier<'a>(&'a SqliteStore);

impl Drop for Carrier<'_> {
    fn drop(&mut self) {
        self.0.answers.carry(&self.0.path);
    }
}

impl Drop for SqliteStore {
    /// Queued work is still done by the threads, which then end by themselves. Use
    /// [`close`](crate::store::Store::close) to wait for that.
    fn drop(&mut self) {
        self.jobs.close();
    }
}
