//! What an open store has, and how its threads are asked.

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
    /// How much was written since it was opened.
    pub fn write_counts(&self) -> WriteCounts {
        self.counters.read()
    }

    /// Has the writer do `operation`; the answer comes after its commit. It is not begun for a caller that went away, and
    /// not stopped for one that goes away later.
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

    /// Of the memory that waiting writes may take.
    fn share(&self, bytes: usize) -> Result<Share> {
        let share = self.waiting.take(bytes).or_else(|| {
            self.forget_abandoned();
            self.waiting.take(bytes)
        });
        share.ok_or_else(|| refused(Refused::Large(self.waiting.taken())))
    }

    /// What waits for a disk that stands still has been given up by its callers after a while.
    fn forget_abandoned(&self) {
        self.jobs.retain(|job| !job.is_abandoned());
    }

    /// Has a reader answer `query` from what is committed.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (caller, answer) = oneshot::channel();
        let query: Query = Box::new(move |connection| {
            // Reading for somebody who went away would only keep others waiting.
            if !caller.is_closed() {
                let _ = caller.send(query(connection));
            }
        });
        self.health.check()?;
        self.queries.push(query).map_err(refused)?;
        let answer = answer.await.map_err(stopped)?;
        // Pages that were lost meanwhile may have been among those that were read.
        self.health.check()?;
        answer.map_err(|error| store_error(&self.path, &Arc::new(error)))
    }

    /// As [`read`](Self::read), for what goes through a great part of the file: one such question at a time is answered,
    /// and given up when its caller goes away.
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

/// A caller of the writer. However its call ends, the answers that it was woken to carry are on their way.
struct Carrier<'a>(&'a SqliteStore);

impl Drop for Carrier<'_> {
    fn drop(&mut self) {
        self.0.answers.carry(&self.0.path);
    }
}

impl Drop for SqliteStore {
    /// What was asked before is still done, by threads that then end by themselves. Use
    /// [`close`](crate::store::Store::close) to know when.
    fn drop(&mut self) {
        self.jobs.close();
    }
}
