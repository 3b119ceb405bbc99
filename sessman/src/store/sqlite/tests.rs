mod commits;
mod deletion;
mod late;
mod layouts;
mod log;
mod owner;
mod places;
mod plans;
mod scans;
mod size;
mod unreadable;
mod waiting;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _};
use tempfile::TempDir;

use super::job::Call;
use super::opening::READERS;
use super::operation::{Create, Failure, Operation, Ping, Transaction, Update};
use super::reader::Query;
use super::scan::Scan;
use super::waiting::MAX_WAITING_BYTES;
use super::*;
use crate::budget::Unlimited;
use crate::data::Data;
use crate::id::{Handle, SecretHash};
use crate::labels::Labels;
use crate::mark::Mark;
use crate::record::{Change, Record, Times, TtlSource};
use crate::store::conformance::{Fixture, conformance_tests};
use crate::store::{Counts, Created, Loaded, Store as _, StoreError, Target, Unless, Updated};
use crate::time::{Clock as _, ManualClock, Timestamp};

/// What is read comes from the cache where it can.
mod cached {
    use super::*;

    async fn open() -> Option<Fixture> {
        let folder = TempDir::new().unwrap();
        Some(Fixture::with(open_in(&folder), folder))
    }

    conformance_tests!(open);
}

/// What is read comes from the file, whole and exact.
mod uncached {
    use super::*;

    async fn open_uncached() -> Option<Fixture> {
        let folder = TempDir::new().unwrap();
        let config = SqliteConfig { cache_bytes: 0, ..config(path_in(&folder)) };
        Some(Fixture::with(open(config).unwrap(), folder))
    }

    conformance_tests!(open_uncached);
}

fn config(path: impl Into<PathBuf>) -> SqliteConfig {
    SqliteConfig { path: path.into(), durability: Durability::Full, cache_bytes: CACHE_BYTES }
}

fn path_in(folder: &TempDir) -> PathBuf {
    folder.path().join("sessions.db")
}

/// With a clock that stands still: what is written lives by the moments that the tests name.
fn open(config: SqliteConfig) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(config, Arc::new(ManualClock::new(at(0))), &Unlimited::shared())
}

fn open_in(folder: &TempDir) -> SqliteStore {
    open(config(path_in(folder))).unwrap()
}

/// Without a cache: each session is asked of the file.
fn open_uncached_in(folder: &TempDir) -> SqliteStore {
    open(SqliteConfig { cache_bytes: 0, ..config(path_in(folder)) }).unwrap()
}

/// What `open` says of a file that it does not take.
fn refusal(path: &Path) -> String {
    match open(config(path)).err() {
        Some(StoreError::Unusable(text)) => {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(text.contains(name), "the message names the file: {text}");
            text
        }
        other => panic!("{other:?}"),
    }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn record(n: u32, data_bytes: usize) -> Arc<Record> {
    let mut handle = [0; 12];
    handle[..4].copy_from_slice(&n.wrapping_mul(0x9E37_79B1).to_be_bytes());
    Arc::new(Record {
        handle: Handle::from(handle),
        mark: Mark::from([0x70; 8]),
        secret_hash: SecretHash::from([7; 32]),
        user_id: Some("ada".into()),
        auth_time: None,
        data: text(data_bytes),
        metadata: Data::empty(),
        created_at: at(0),
        updated_at: at(0),
        reset_at: at(0),
        last_activity: at(0),
        ttl: Duration::from_secs(1),
        ttl_source: TtlSource::Configured,
        idle: None,
        persistent: false,
        labels: Labels::none(),
        expires_at: at(1_000_000),
        version: 1,
        mac: None,
    })
}

fn text(bytes: usize) -> Data {
    Data::parse(&format!("\"{}\"", "x".repeat(bytes))).unwrap()
}

async fn create(store: &SqliteStore, n: u32) {
    assert_eq!(store.create(record(n, 200), at(0)).await.unwrap(), Created::Yes);
}

/// Whether there was one to delete.
async fn delete(store: &SqliteStore, n: u32) -> bool {
    !store.delete(&[Target::whatever(record(n, 0).handle)]).await.unwrap().is_empty()
}

async fn is_stored(store: &SqliteStore, n: u32) -> bool {
    store.load(record(n, 0).handle, at(0)).await.unwrap().live().is_some()
}

/// Runs SQL on the file of a store that is closed.
fn sql(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

/// Keeps the writer busy, so that what is asked meanwhile has to wait.
struct Hold {
    begun: mpsc::Sender<()>,
    released: std::sync::Mutex<mpsc::Receiver<()>>,
}

impl Operation for Hold {
    type Output = ();

    fn execute(&self, _: &mut Transaction<'_>) -> Result<(), Failure> {
        self.begun.send(()).unwrap();
        let _ = self.released.lock().unwrap().recv();
        Ok(())
    }
}

/// Returns once the writer is busy, which it is until the sender is dropped.
fn hold(store: &SqliteStore) -> mpsc::Sender<()> {
    let ((begun, has_begun), (release, released)) = (mpsc::channel(), mpsc::channel());
    let (job, answer) = Call::boxed(Hold { begun, released: released.into() }, None);
    store.jobs.push(job).unwrap();
    has_begun.recv().unwrap();
    drop(answer);
    release
}

/// Any SQL, within the writer's transaction.
struct Sql(&'static str);

impl Operation for Sql {
    type Output = ();

    fn execute(&self, transaction: &mut Transaction<'_>) -> Result<(), Failure> {
        Ok(transaction.connection.execute_batch(self.0)?)
    }
}

/// Asks for every call at a moment when the writer is busy, and gives their results.
async fn all_at_once<T: Send + 'static>(
    store: &Arc<SqliteStore>,
    calls: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let release = hold(store);
    // A task that has been polled once waits for its answer: it is in the queue.
    let calls: Vec<_> = calls.into_iter().map(tokio::spawn).collect();
    for _ in 0..calls.len() {
        tokio::task::yield_now().await;
    }
    drop(release);
    let mut results = Vec::new();
    for call in calls {
        results.push(call.await.unwrap());
    }
    results
}
