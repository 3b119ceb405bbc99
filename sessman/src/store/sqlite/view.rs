//! Read-only access to a SQLite file that another process may own, without its lock.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;

use super::failure::{opening_error, store_error};
use super::queue::Stopped;
use super::schema::{self, SchemaError};
use super::settings::SqliteConfig;
use super::{connection, questions, reader};
use crate::id::Handle;
use crate::record::{Change, Record, Summary};
use crate::store::{
    Checkup, Claim, Claimed, Counts, Created, Listing, Loaded, Outlined, Page, PlacesPage, Purged, Result,
    Store, StoreError, Target, Unless, Updated, View,
};
use crate::time::Timestamp;

/// The longest time of a snapshot. Meanwhile the owner cannot restart its WAL, which grows.
const LONGEST: Duration = Duration::from_secs(30 * 60);

/// Sessions in a SQLite file, read-only. Writes are rejected.
pub struct SqliteView {
    path: PathBuf,
    connection: Arc<Mutex<Connection>>,
    /// For a snapshot: the guard of the thread that ends it.
    term: Option<Term>,
}

/// The time limit of a snapshot.
struct Term {
    is_over: Arc<AtomicBool>,
    _unless_dropped: mpsc::Sender<()>,
}

impl Term {
    /// After `longest` the connection ends its read transaction.
    fn begin(connection: &Arc<Mutex<Connection>>, longest: Duration) -> std::io::Result<Self> {
        let (unless_dropped, dropped) = mpsc::channel::<()>();
        let is_over = Arc::new(AtomicBool::new(false));
        let (connection, over) = (Arc::clone(connection), is_over.clone());
        let interrupt = connection.lock().unwrap_or_else(PoisonError::into_inner).get_interrupt_handle();
        std::thread::Builder::new().name("sqlite-snapshot".into()).spawn(move || {
            if dropped.recv_timeout(longest) != Err(mpsc::RecvTimeoutError::Timeout) {
                return;
            }
            over.store(true, Ordering::SeqCst);
            interrupt.interrupt();
            let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = connection.execute_batch("ROLLBACK") {
                tracing::warn!(%error, "a snapshot of a SQLite file could not be ended");
            }
        })?;
        Ok(Self { is_over, _unless_dropped: unless_dropped })
    }
}

impl SqliteView {
    /// Opens the file beside its owner. Blocks meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] with the path and the remedy: there is no such file, it may not be read, or its layout is not
    /// this build's.
    pub fn open(config: &SqliteConfig, view: View) -> Result<Self> {
        Self::open_for(LONGEST, config, view)
    }

    fn open_for(longest: Duration, config: &SqliteConfig, view: View) -> Result<Self> {
        let path = config.path.clone();
        if let Err(error) = std::fs::metadata(&path) {
            return Err(StoreError::Unusable(format!(
                "{} cannot be read ({error}); pserve makes it when it starts, in the `path` of its configuration",
                path.display()
            )));
        }
        let connection = connection::to_read(&path).map_err(|error| opening_error(&path, error))?;
        schema::recognise(&connection, &path).map_err(|error| match error {
            SchemaError::Sqlite(error) => opening_error(&path, error),
            SchemaError::Store(error) => error,
        })?;
        if view == View::Snapshot {
            // The first read of the transaction fixes the snapshot. While it is open, the owner's WAL grows.
            connection
                .execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;")
                .map_err(|error| opening_error(&path, error))?;
        }
        let connection = Arc::new(Mutex::new(connection));
        let term = (view == View::Snapshot).then(|| Term::begin(&connection, longest)).transpose();
        let term = term.map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        Ok(Self { path, connection, term })
    }

    /// # Errors
    /// [`StoreError::Unusable`] once the snapshot has ended: further reads would see another state.
    fn check_term(&self) -> Result<()> {
        match &self.term {
            Some(term) if term.is_over.load(Ordering::SeqCst) => Err(StoreError::Unusable(format!(
                "{} was read for {} minutes, in which its log has grown, and longer it is not; write to a faster disk, or \
                 stop pserve meanwhile",
                self.path.display(),
                LONGEST.as_secs() / 60
            ))),
            _ => Ok(()),
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let connection = Arc::clone(&self.connection);
        let reading = tokio::task::spawn_blocking(move || {
            query(&connection.lock().unwrap_or_else(PoisonError::into_inner))
        });
        let answer = reading.await.map_err(|_| StoreError::Unavailable(Box::new(Stopped)))?;
        self.check_term()?;
        answer.map_err(|error| store_error(&self.path, &Arc::new(error)))
    }

    fn refuse<T>(&self) -> Result<T> {
        Err(StoreError::Unusable(format!("{} was opened to read from it alone", self.path.display())))
    }
}

#[async_trait]
impl Store for SqliteView {
    async fn create(&self, _: Arc<Record>, _: Timestamp) -> Result<Created> {
        self.refuse()
    }

    async fn load(&self, handle: Handle, now: Timestamp) -> Result<Loaded> {
        let row = self.read(move |connection| reader::load(connection, handle)).await?;
        Ok(Loaded::of(row.map(|row| row.record), now))
    }

    async fn update(&self, _: &Record, _: Unless, _: &Change) -> Result<Updated> {
        self.refuse()
    }

    async fn delete(&self, _: &[Target]) -> Result<Vec<Handle>> {
        self.refuse()
    }

    async fn outlines(&self, handles: &[Handle]) -> Result<Vec<Outlined>> {
        self.read(questions::outlines(handles)).await
    }

    async fn list(&self, listing: Listing<'_>, now: Timestamp) -> Result<Page<Summary>> {
        self.read(questions::list(listing, now)).await
    }

    async fn records(
        &self,
        after: Option<Handle>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page<Arc<Record>>> {
        self.read(questions::records(after, limit, now)).await
    }

    async fn counts(&self, now: Timestamp, since: &[Timestamp]) -> Result<Counts> {
        self.read(questions::counts(now, since)).await
    }

    async fn claim(&self, _: Claim<'_>) -> Result<Claimed> {
        self.refuse()
    }

    async fn release(&self, _: &str, _: &[Handle]) -> Result<()> {
        self.refuse()
    }

    async fn places(&self, user_id: &str) -> Result<Vec<Handle>> {
        self.read(questions::places(user_id)).await
    }

    async fn all_places(&self, after: Option<&str>, limit: usize) -> Result<PlacesPage> {
        self.read(questions::all_places(after, limit)).await
    }

    async fn forget_places(&self) -> Result<()> {
        self.refuse()
    }

    async fn purge_expired(&self, _: Timestamp, _: usize) -> Result<Vec<Purged>> {
        self.refuse()
    }

    async fn clear(&self) -> Result<u64> {
        self.refuse()
    }

    /// Checks that the file can be read; only its owner knows whether it can be written to.
    async fn ping(&self) -> Result<()> {
        self.read(|connection| connection.query_row("SELECT 1", [], |_| Ok(()))).await
    }

    async fn checkup(&self) -> Result<Checkup> {
        self.read(schema::checkup).await
    }

    /// The connection is closed when the store is dropped.
    async fn close(&self) {}
}

#[cfg(test)]
mod tests;
