mod deletion;
mod late;
mod layouts;
mod log;
mod places;
mod plans;
mod scans;
mod unreadable;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use rusqlite::OptionalExtension as _;
use tempfile::TempDir;

use super::operation::{Create, Failure, Operation, Ping, Transaction, Update};
use super::reader::Query;
use super::scan::Scan;
use super::store::READERS;
use super::waiting::MAX_WAITING_BYTES;
use super::writer::Call;
use super::*;
use crate::budget::Unlimited;
use crate::data::Data;
use crate::id::{Handle, SecretHash};
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

#[tokio::test]
async fn what_was_asked_before_the_close_is_done() {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(open_in(&folder));
    let release = hold(&store);
    let mut callers = Vec::new();
    for n in 0..10 {
        let (job, caller) = Call::boxed(Create { record: record(n, 10), now: at(0) }, None);
        store.jobs.push(job).unwrap();
        callers.push(caller);
    }
    let closing = tokio::spawn({
        let store = store.clone();
        async move { store.close().await }
    });
    drop(release);
    closing.await.unwrap();
    drop(store);
    let store = open_in(&folder);
    assert_eq!(store.counts(at(0), &[]).await.unwrap().active, 10);
    store.close().await;
}

#[tokio::test]
async fn a_file_has_one_owner_and_is_private() {
    let folder = TempDir::new().unwrap();
    let store = open_in(&folder);
    create(&store, 1).await;
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(path_in(&folder), &link).unwrap();
    for path in [path_in(&folder), link] {
        let Err(StoreError::InUse(text)) = open(config(path)) else { panic!("it was opened") };
        assert!(text.contains(&format!("in use by process {}", std::process::id())), "{text}");
    }
    for file in ["sessions.db", "sessions.db-wal", "sessions.db-shm", "sessions.db.lock"] {
        let mode = fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    store.close().await;
    open_in(&folder).close().await;
}

#[tokio::test]
async fn a_file_whose_lock_file_was_deleted_still_has_one_owner() {
    let folder = TempDir::new().unwrap();
    let store = open_in(&folder);
    create(&store, 1).await;
    fs::remove_file(folder.path().join("sessions.db.lock")).unwrap();
    let Err(StoreError::InUse(text)) = open(config(path_in(&folder))) else { panic!("it was opened") };
    assert!(text.contains("in use by this process"), "{text}");
    // The locks that SQLite has on it are still there: another program does not take it for its own, and the log away.
    Connection::open(path_in(&folder)).unwrap().query_row("SELECT 1 FROM sessions", [], |_| Ok(())).unwrap();
    let sqlite3 = std::process::Command::new("sqlite3")
        .arg(path_in(&folder))
        .arg("SELECT count(*) FROM sessions; PRAGMA wal_checkpoint")
        .status();
    assert!(sqlite3.is_err() || fs::exists(folder.path().join("sessions.db-wal")).unwrap());
    create(&store, 2).await;
    store.close().await;
    let store = open_in(&folder);
    assert!(is_stored(&store, 1).await && is_stored(&store, 2).await);
    store.close().await;
}

#[tokio::test]
async fn what_root_makes_in_the_folder_of_another_user_is_that_users() {
    use std::os::unix::fs::{MetadataExt as _, chown};
    let folder = TempDir::new().unwrap();
    // Who is not root makes files of their own, which is right.
    if chown(folder.path(), Some(4_711), Some(4_712)).is_err() {
        return;
    }
    let store = open_in(&folder);
    create(&store, 1).await;
    for file in ["sessions.db", "sessions.db-wal", "sessions.db-shm", "sessions.db.lock"] {
        let found = fs::metadata(folder.path().join(file)).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (4_711, 4_712, 0o600), "{file}");
    }
    store.close().await;
}

#[tokio::test]
async fn a_file_of_another_kind_is_refused_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = path_in(&folder);
    for content in ["some notes\n".repeat(100), "x".into(), "SQLite format 2\0".into()] {
        fs::write(&path, &content).unwrap();
        assert!(refusal(&path).contains("is not a SQLite file"));
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
    fs::remove_file(&path).unwrap();
    sql(&path, "CREATE TABLE orders (id INTEGER)");
    let before = fs::read(&path).unwrap();
    assert!(refusal(&path).contains("of another application"));
    assert_eq!(fs::read(&path).unwrap(), before);
    sql(&path, "PRAGMA application_id = 42; DROP TABLE orders");
    assert!(refusal(&path).contains("of another application"));
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = path_in(&folder);
    let store = open_in(&folder);
    for n in 0..200 {
        create(&store, n).await;
    }
    store.close().await;
    let good = fs::read(&path).unwrap();

    for length in [50, 100, 4_096, good.len() / 2, good.len() - 4_096] {
        fs::write(&path, &good[..length]).unwrap();
        assert!(refusal(&path).contains("damaged"), "cut to {length}");
    }
    for page in 1..good.len() / 4_096 {
        let mut broken = good.clone();
        broken[page * 4_096..][..4_096].fill(0xC3);
        fs::write(&path, &broken).unwrap();
        assert!(refusal(&path).contains("damaged"), "page {page} overwritten");
    }
    fs::write(&path, &good).unwrap();
    open_in(&folder).close().await;

    sql(&path, "DROP TABLE sessions");
    let text = refusal(&path);
    assert!(text.contains("damaged (no such table: sessions"), "{text}");
}

#[tokio::test]
async fn a_place_where_no_file_can_be_is_refused() {
    let folder = TempDir::new().unwrap();
    let Err(StoreError::Unusable(text)) = open(config(folder.path().join("none/x.db"))) else {
        panic!("it was opened")
    };
    assert!(text.contains("there is no folder") && text.contains("none"), "{text}");
    let inside = folder.path().join("sub");
    fs::create_dir(&inside).unwrap();
    assert!(refusal(&inside).contains("cannot be opened"));
}

#[tokio::test]
async fn waiting_writes_share_a_commit() {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(open_in(&folder));
    let before = store.write_counts();
    let calls = (0..100).map(|n| {
        let store = store.clone();
        async move { create(&store, n).await }
    });
    all_at_once(&store, calls).await;
    let after = store.write_counts();
    assert_eq!(after.writes - before.writes, 101);
    assert_eq!(after.commits - before.commits, 1);
    assert_eq!(store.counts(at(0), &[]).await.unwrap().active, 100);

    store.ping().await.unwrap();
    assert!(!delete(&store, 500).await);
    assert_eq!(
        store.write_counts().commits,
        after.commits,
        "what changes nothing does not wait for the disk"
    );
    store.close().await;
}

#[tokio::test]
async fn nobody_waits_for_a_caller_that_goes_away_or_stands_still() {
    let folder = TempDir::new().unwrap();
    let store = open_in(&folder);
    let release = hold(&store);
    let (mut gone, mut still, mut third) = (store.ping(), store.ping(), store.ping());
    for call in [&mut gone, &mut still, &mut third] {
        assert!(tokio::time::timeout(Duration::ZERO, call).await.is_err(), "it waits for the writer");
    }
    drop(gone);
    drop(release);
    third.await.unwrap();
    still.await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_write_that_fails_leaves_the_others_of_its_commit() {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(open_in(&folder));
    let results = all_at_once(
        &store,
        (0..9).map(|n| {
            let store = store.clone();
            async move {
                match n {
                    4 => store.write(Sql("INSERT INTO sessions (id) VALUES (1)")).await.is_ok(),
                    _ => store.create(record(n, 10), at(0)).await.is_ok(),
                }
            }
        }),
    )
    .await;
    assert_eq!(results, [true, true, true, true, false, true, true, true, true]);
    assert_eq!(store.counts(at(0), &[]).await.unwrap().active, 8);
    store.close().await;
}

#[tokio::test]
async fn a_failed_commit_fails_all_its_writes_and_undoes_them() {
    const BREAK: &str = "
        CREATE TABLE IF NOT EXISTS parent (id INTEGER PRIMARY KEY);
        CREATE TABLE IF NOT EXISTS child (id REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
        INSERT INTO child VALUES (1)";
    let folder = TempDir::new().unwrap();
    let store = Arc::new(open_in(&folder));
    let results = all_at_once(
        &store,
        (0..9).map(|n| {
            let store = store.clone();
            async move {
                match n {
                    4 => store.write(Sql(BREAK)).await,
                    _ => store.create(record(n, 10), at(0)).await.map(|_| ()),
                }
            }
        }),
    )
    .await;
    assert!(results.iter().all(|result| matches!(result, Err(StoreError::Unavailable(_)))));
    assert_eq!(store.counts(at(0), &[]).await.unwrap(), Counts::default());
    store.ping().await.unwrap();
    create(&store, 1).await;
    store.close().await;
}

#[tokio::test]
async fn a_full_disk_fails_what_does_not_fit_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(open_in(&folder));
    for n in 0..50 {
        create(&store, n).await;
    }
    store.write(Sql("PRAGMA max_page_count = 40")).await.unwrap();
    let results = all_at_once(
        &store,
        (100..110).map(|n| {
            let store = store.clone();
            async move {
                let bytes = if n % 2 == 0 { 200_000 } else { 10 };
                store.create(record(n, bytes), at(0)).await
            }
        }),
    )
    .await;
    for (index, result) in results.into_iter().enumerate() {
        match index % 2 {
            0 => assert!(matches!(result, Err(StoreError::Full)), "{result:?}"),
            _ => assert_eq!(result.unwrap(), Created::Yes),
        }
    }
    assert_eq!(store.counts(at(0), &[]).await.unwrap().active, 55);

    let times = Times { reset_at: at(1), last_activity: at(1), expires_at: at(2_000_000) };
    let grown = Change { data: Some(text(200_000)), ..Change::touch(at(1), times) };
    let result = store.update(&record(1, 0), Unless::Gone, &grown).await;
    assert!(matches!(result, Err(StoreError::Full)));
    assert_eq!(*store.load(record(1, 0).handle, at(0)).await.unwrap().live().unwrap(), *record(1, 200));
    assert!(delete(&store, 2).await);
    store.write(Sql("PRAGMA max_page_count = 1000000")).await.unwrap();
    let updated = store.update(&record(1, 0), Unless::Gone, &grown).await;
    assert!(matches!(updated, Ok(Updated::Done { .. })));
    store.close().await;
}

#[tokio::test]
async fn ping_notices_that_the_file_is_gone() {
    let folder = TempDir::new().unwrap();
    let store = open_in(&folder);
    let (path, away) = (path_in(&folder), folder.path().join("away"));
    fs::rename(&path, &away).unwrap();
    assert!(matches!(store.ping().await, Err(StoreError::Unusable(text)) if text.contains("was removed")));
    fs::write(&path, "").unwrap();
    assert!(matches!(store.ping().await, Err(StoreError::Unusable(text)) if text.contains("another file")));
    fs::rename(&away, &path).unwrap();
    store.ping().await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_writer_that_is_overrun_says_so_at_once() {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(open_in(&folder));
    let release = hold(&store);
    let mut callers = Vec::new();
    loop {
        let (job, caller) = Call::boxed(Ping, None);
        if store.jobs.push(job).is_err() {
            break;
        }
        callers.push(caller);
    }
    let refused = store.create(record(1, 10), at(0)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
    // Readers do not wait for the writer.
    assert!(!is_stored(&store, 1).await);
    drop(release);
    store.close().await;
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_begun_and_takes_no_memory() {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(open_in(&folder));
    let release = hold(&store);
    let write = |n| {
        let store = store.clone();
        tokio::spawn(async move { store.create(record(n, 1 << 20), at(0)).await })
    };
    let given_up: Vec<_> = (0..10).map(write).collect();
    tokio::task::yield_now().await;
    assert!(store.waiting.taken() > 10 << 20);
    for call in given_up {
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
    }
    // As many as there is memory for: what others gave up is forgotten for it.
    let waiting: Vec<_> = (100..131).map(write).collect();
    tokio::task::yield_now().await;
    assert!(store.waiting.taken() <= MAX_WAITING_BYTES && waiting.iter().all(|call| !call.is_finished()));
    let refused = store.create(record(200, 1 << 20), at(0)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
    drop(release);
    for call in waiting {
        assert_eq!(call.await.unwrap().unwrap(), Created::Yes);
    }
    assert_eq!(store.waiting.taken(), 0);
    assert_eq!(store.counts(at(0), &[]).await.unwrap().active, 31);
    store.close().await;
}

#[tokio::test]
async fn a_session_in_use_is_read_without_the_file() {
    let folder = TempDir::new().unwrap();
    let store = open_in(&folder);
    for n in 0..3 {
        create(&store, n).await;
    }
    store.close().await;
    let store = Arc::new(open_in(&folder));
    assert!(is_stored(&store, 1).await);
    create(&store, 5).await;
    // Neither the writer nor a reader answers anybody.
    let (release, held) = mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    for _ in 0..READERS {
        let held = held.clone();
        assert!(store.queries.push(Box::new(move |_| assert!(held.lock().unwrap().recv().is_err()))).is_ok());
    }
    let release_writer = hold(&store);
    assert!(is_stored(&store, 1).await, "it was read before");
    assert!(is_stored(&store, 5).await, "it was written before");
    let expired = store.load(record(5, 0).handle, at(1_000_000)).await.unwrap();
    assert!(matches!(expired, Loaded::Expired(_)));
    let unread = tokio::spawn({
        let store = store.clone();
        async move { is_stored(&store, 2).await }
    });
    tokio::task::yield_now().await;
    assert!(!unread.is_finished());
    drop((release, release_writer));
    assert!(unread.await.unwrap());
    store.close().await;
    assert!(matches!(store.load(record(1, 0).handle, at(0)).await, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn a_file_shrinks_after_a_great_clean_up_and_not_after_a_small_one() {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(open_in(&folder));
    let calls = (0..4_000).map(|n| {
        let store = store.clone();
        async move { store.create(record(n, 1_000), at(0)).await.unwrap() }
    });
    all_at_once(&store, calls).await;
    let spare = || async { store.scan(schema::spare_pages).await.unwrap() };
    let size = || async {
        let pages = |connection: &Connection| {
            connection.pragma_query_value(None, "page_count", |row| row.get::<_, u32>(0))
        };
        store.read(pages).await.unwrap()
    };
    let full = size().await;
    for n in 0..200 {
        assert!(delete(&store, n).await);
    }
    assert_eq!(store.purge_expired(at(0), 250).await.unwrap(), []);
    assert_eq!(size().await, full, "what is left over is for the sessions that come next");

    while store.purge_expired(at(1_000_000), 250).await.unwrap().len() == 250 {
        assert!(size().await <= full);
    }
    let left = size().await;
    assert!(left < 400 && full > 1_200, "{full} pages before, {left} after");
    assert_eq!(spare().await, 0);
    for n in 0..10 {
        create(&store, n).await;
    }
    store.close().await;
    let bytes = fs::metadata(path_in(&folder)).unwrap().len();
    assert!(bytes < 400 * 4_096, "{bytes}");
    let store = open_in(&folder);
    assert_eq!(store.counts(at(0), &[]).await.unwrap().active, 10);
    store.close().await;
}
