//! A SQLite file that another process may own, to read from: without its lock, and without a write.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;

use super::failure::{opening_error, store_error};
use super::listing::{self, List};
use super::schema::{self, SchemaError};
use super::store::Stopped;
use super::{SqliteConfig, claims, counting, reader};
use crate::id::Handle;
use crate::record::{Change, Record, Summary};
use crate::store::{
    Checkup, Claim, Claimed, Counts, Created, Listing, Loaded, Outlined, Page, PlacesPage, Purged, Result,
    Store, StoreError, Target, Unless, Updated, View,
};
use crate::time::Timestamp;

/// How long one state is read at most. As long as it is, the log of whoever owns the file grows.
const LONGEST: Duration = Duration::from_secs(30 * 60);

/// Sessions in a SQLite file, to read from. Whatever would write is refused.
pub struct SqliteView {
    path: PathBuf,
    connection: Arc<Mutex<Connection>>,
    /// Of a snapshot: ends the thread that would end it.
    term: Option<Term>,
}

/// The time of a snapshot.
struct Term {
    is_over: Arc<AtomicBool>,
    _unless_dropped: mpsc::Sender<()>,
}

impl Term {
    /// After `longest` the connection lets go of what it reads.
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
    /// Opens the file beside whoever owns it. It blocks while it does.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] with the path and the remedy: there is no such file, it may not be read, it is not one of
    /// this build's layout.
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
        let connection = reader::connect(&path).map_err(|error| opening_error(&path, error))?;
        schema::recognise(&connection, &path).map_err(|error| match error {
            SchemaError::Sqlite(error) => opening_error(&path, error),
            SchemaError::Store(error) => error,
        })?;
        if view == View::Snapshot {
            // The state is chosen by the first read of the transaction. As long as it is held, the owner's log grows.
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
    /// [`StoreError::Unusable`] once the time of a snapshot is over: what is read from now on would be of another one.
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
        let handles = handles.to_vec();
        self.read(move |connection| listing::outlines(connection, &handles)).await
    }

    async fn list(&self, listing: Listing<'_>, now: Timestamp) -> Result<Page<Summary>> {
        let list = List::new(listing, now);
        self.read(move |connection| list.page(connection)).await
    }

    async fn records(
        &self,
        after: Option<Handle>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page<Arc<Record>>> {
        self.read(move |connection| listing::records(connection, after, limit, now)).await
    }

    async fn counts(&self, now: Timestamp, since: &[Timestamp]) -> Result<Counts> {
        let since = since.to_vec();
        self.read(move |connection| counting::counts(connection, now, &since)).await
    }

    async fn claim(&self, _: Claim<'_>) -> Result<Claimed> {
        self.refuse()
    }

    async fn release(&self, _: &str, _: &[Handle]) -> Result<()> {
        self.refuse()
    }

    async fn places(&self, user_id: &str) -> Result<Vec<Handle>> {
        let user_id = user_id.to_owned();
        self.read(move |connection| claims::places(connection, &user_id)).await
    }

    async fn all_places(&self, after: Option<&str>, limit: usize) -> Result<PlacesPage> {
        let after = after.map(str::to_owned);
        self.read(move |connection| claims::all_places(connection, after.as_deref(), limit)).await
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

    /// That it can be read; who owns it knows whether it can be written to.
    async fn ping(&self) -> Result<()> {
        self.read(|connection| connection.query_row("SELECT 1", [], |_| Ok(()))).await
    }

    async fn checkup(&self) -> Result<Checkup> {
        self.read(schema::checkup).await
    }

    /// The connection goes with the store.
    async fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::budget::Unlimited;
    use crate::store::Places;
    use crate::store::conformance::record;
    use crate::store::sqlite::{Durability, SqliteStore};
    use crate::time::ManualClock;

    fn config(folder: &TempDir) -> SqliteConfig {
        SqliteConfig {
            path: folder.path().join("sessions.db"),
            durability: Durability::Normal,
            cache_bytes: 0,
        }
    }

    fn unusable(result: Result<SqliteView>) -> String {
        match result {
            Err(StoreError::Unusable(text)) => text,
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("it was opened"),
        }
    }

    #[tokio::test]
    async fn a_file_is_read_beside_its_owner_as_it_is_and_as_it_was() {
        let folder = TempDir::new().unwrap();
        let now = Timestamp::from_millis(1_000);
        let owner = SqliteStore::open(config(&folder), Arc::new(ManualClock::new(now)), &Unlimited::shared())
            .unwrap();
        let (first, second) = (Arc::new(record(1)), Arc::new(record(2)));
        owner.create(Arc::clone(&first), now).await.unwrap();
        let ada = Places { user_id: "ada".into(), handles: vec![second.handle] };
        let claim = Claim {
            user_id: &ada.user_id,
            handle: second.handle,
            room: None,
            moves_last: false,
            earlier: Some(&[]),
        };
        owner.claim(claim).await.unwrap();
        let present = SqliteView::open(&config(&folder), View::Present).unwrap();
        let snapshot = SqliteView::open(&config(&folder), View::Snapshot).unwrap();
        owner.create(Arc::clone(&second), now).await.unwrap();
        owner.delete(&[Target::whatever(first.handle)]).await.unwrap();

        assert_eq!(present.load(second.handle, now).await.unwrap().live(), Some(Arc::clone(&second)));
        let since = [Timestamp::from_millis(0)];
        assert_eq!(
            present.counts(now, &since).await.unwrap(),
            Counts { active: 1, expired: 0, since: vec![1] }
        );
        let listing = Listing { limit: 10, ..Listing::default() };
        assert_eq!(snapshot.list(listing, now).await.unwrap().items, [first.summary()]);
        assert_eq!(snapshot.records(None, 10, now).await.unwrap().items, [Arc::clone(&first)]);
        let outlined = Outlined::Found(first.outline());
        assert_eq!(
            snapshot.outlines(&[second.handle, first.handle]).await.unwrap(),
            [Outlined::Missing, outlined]
        );
        let places = present.places("ada").await.unwrap();
        assert_eq!(
            (places, present.all_places(None, 10).await.unwrap().users),
            (vec![second.handle], vec![ada])
        );
        assert_eq!(snapshot.load(second.handle, now).await.unwrap(), Loaded::Missing);
        assert_eq!(snapshot.counts(now, &since).await.unwrap().since, [1]);
        assert!(snapshot.checkup().await.unwrap().problems.is_empty());
        // Nothing is written, and its owner goes on.
        assert!(present.delete(&[Target::whatever(second.handle)]).await.is_err());
        assert!(present.clear().await.is_err() && present.forget_places().await.is_err());
        assert!(present.create(first, now).await.is_err());
        owner.ping().await.unwrap();
    }

    #[tokio::test]
    async fn a_snapshot_does_not_hold_the_log_of_its_owner_for_ever() {
        let folder = TempDir::new().unwrap();
        let now = Timestamp::from_millis(1_000);
        let owner = SqliteStore::open(config(&folder), Arc::new(ManualClock::new(now)), &Unlimited::shared())
            .unwrap();
        owner.create(Arc::new(record(1)), now).await.unwrap();
        let log = folder.path().join("sessions.db-wal");
        let snapshot =
            SqliteView::open_for(Duration::from_millis(1), &config(&folder), View::Snapshot).unwrap();
        let ended = loop {
            match snapshot.counts(now, &[]).await {
                Ok(counts) => assert_eq!(counts.active, 1),
                Err(error) => break error,
            }
        };
        assert!(matches!(&ended, StoreError::Unusable(text) if text.contains("was read for")), "{ended}");
        owner.create(Arc::new(record(2)), now).await.unwrap();
        assert!(snapshot.counts(now, &[]).await.is_err(), "nothing is read of another state");
        // It still has the file open, and reads nothing: the log can be put away.
        owner.close().await;
        assert_eq!(std::fs::metadata(log).unwrap().len(), 0);
        drop(snapshot);
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_named_and_nothing_is_made() {
        let folder = TempDir::new().unwrap();
        let missing = unusable(SqliteView::open(&config(&folder), View::Present));
        assert!(missing.contains("sessions.db cannot be read"), "{missing}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

        std::fs::write(config(&folder).path, "").unwrap();
        assert!(unusable(SqliteView::open(&config(&folder), View::Snapshot)).contains("is empty"));
        std::fs::write(config(&folder).path, "not a database, though it is longer than a header".repeat(9))
            .unwrap();
        assert!(unusable(SqliteView::open(&config(&folder), View::Present)).contains("damaged"));
        let foreign = Connection::open(folder.path().join("other.db")).unwrap();
        foreign.execute_batch("CREATE TABLE cats (name TEXT)").unwrap();
        let other = SqliteConfig { path: folder.path().join("other.db"), ..config(&folder) };
        assert!(unusable(SqliteView::open(&other, View::Present)).contains("another application"));
        for older in [1, 2] {
            let ours = format!("PRAGMA application_id = 0x73657373; PRAGMA user_version = {older}");
            foreign.execute_batch(&ours).unwrap();
            let text = unusable(SqliteView::open(&other, View::Present));
            assert!(text.contains(&format!("its layout is {older}")), "{text}");
            assert!(text.contains("a start of pserve brings it up"), "{text}");
        }
        foreign.execute_batch("PRAGMA user_version = 99").unwrap();
        assert!(unusable(SqliteView::open(&other, View::Present)).contains("newer version"));
    }
}
