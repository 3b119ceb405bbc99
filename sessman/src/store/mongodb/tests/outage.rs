//! The server goes away and comes back, under the same address.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::connection::CALL_LIMIT;
use super::*;
use crate::data::Data;
use crate::id::{Handle, SecretHash};
use crate::record::{Change, Record, Times};
use crate::store::{Created, Expected, Listing, Store, StoreError};
use crate::time::Timestamp;

/// What a caller waits at most; the rest of two seconds is for the one that asks.
const LIMIT: Duration = Duration::from_millis(1_950);

/// A stand-in of this test's own.
struct StandIn {
    child: Child,
    port: u16,
}

impl StandIn {
    /// Starts one on `port`; 0 takes any free one.
    fn start(port: u16) -> Option<Self> {
        let Ok(command) = std::env::var("E2E_MONGO_STANDIN") else {
            skip("no MongoDB to take away: E2E_MONGO_STANDIN is not set");
            return None;
        };
        let command: Vec<String> = serde_json::from_str(&command).unwrap();
        let mut child = Command::new(&command[0])
            .args(&command[1..])
            .arg(port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Some(Self { child, port: line.trim().parse().unwrap() })
    }

    /// Stops its process without ending it: connections stay open, and nothing answers.
    fn freeze(&self) {
        let frozen = Command::new("kill").args(["-STOP", &self.child.id().to_string()]).status().unwrap();
        assert!(frozen.success());
        // The signal is under way to each of its threads; until it is there, one may still answer.
        let stopped = |thread: std::fs::DirEntry| {
            let state = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            state.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 't', 'Z', 'X']))
        };
        let threads = format!("/proc/{}/task", self.child.id());
        while !std::fs::read_dir(&threads).unwrap().flatten().all(stopped) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn thaw(&self) {
        let thawed = Command::new("kill").args(["-CONT", &self.child.id().to_string()]).status().unwrap();
        assert!(thawed.success());
    }

    fn config(&self) -> MongoConfig {
        config(&format!("127.0.0.1:{}", self.port), "sessman".into())
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn record(n: u8) -> Arc<Record> {
    let start = Timestamp::from_millis(4_102_444_800_000);
    Arc::new(Record {
        handle: Handle::from([n; 12]),
        secret_hash: SecretHash::from([n; 32]),
        user_id: Some("ada".into()),
        auth_time: None,
        data: Data::empty(),
        metadata: Data::empty(),
        created_at: start,
        updated_at: start,
        reset_at: start,
        last_activity: start,
        ttl: Duration::from_secs(60),
        expires_at: start.after(Duration::from_secs(60)),
        version: 1,
    })
}

/// Every call ends in time, with the error for a server that is not there.
async fn assert_unavailable(store: &MongoStore) {
    let record = record(1);
    let (handle, now) = (record.handle, record.created_at);
    let times = Times { reset_at: now, last_activity: now, expires_at: record.expires_at };
    let change = Change::touch(now, times);
    let expected = Expected { version: Some(1), ..Expected::holder(record.secret_hash) };
    let listing = Listing { user_id: None, after: None, limit: 10 };

    async fn in_time<T>(call: impl Future<Output = crate::store::Result<T>>) {
        let started = Instant::now();
        let result = call.await;
        assert!(started.elapsed() < LIMIT, "took {:?}", started.elapsed());
        match result {
            Err(StoreError::Unavailable(_)) => {}
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("answered by a server that is away"),
        }
    }
    tokio::join!(
        in_time(store.create(Arc::clone(&record), now)),
        in_time(store.load(handle, now)),
        in_time(store.update(handle, expected, &change)),
        in_time(store.delete(handle, None)),
        in_time(store.list(listing, now)),
        in_time(store.counts(now)),
        in_time(store.purge_expired(now, 10)),
        in_time(store.clear()),
        in_time(store.ping()),
    );
}

/// Waits until the store answers, at most as long as a service may take to recover.
async fn wait_for(store: &MongoStore) {
    let started = Instant::now();
    while let Err(error) = store.ping().await {
        assert!(started.elapsed() < Duration::from_secs(15), "{error:?}");
    }
}

/// Waits until the store has made its indexes, which nothing asks it for.
async fn wait_for_indexes(config: &MongoConfig) {
    let started = Instant::now();
    while server::index_names(&documents(config).await).await != ["_id_", "session_ttl", "user_sessions"] {
        assert!(started.elapsed() < Duration::from_secs(15), "no indexes");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_and_comes_back_needs_no_new_store() {
    let Some(server) = StandIn::start(0) else { return };
    let port = server.port;
    let store = MongoStore::open(server.config()).unwrap();
    wait_for_indexes(&server.config()).await;
    let (one, now) = (record(1), record(1).created_at);
    assert_eq!(store.create(Arc::clone(&one), now).await.unwrap(), Created::Yes);

    drop(server);
    for _ in 0..3 {
        assert_unavailable(&store).await;
    }

    let server = StandIn::start(port).unwrap();
    wait_for(&store).await;
    // Its data was in memory only; what counts is that the same store works with the new server.
    assert_eq!(store.load(one.handle, now).await.unwrap(), None);
    assert_eq!(store.create(Arc::clone(&one), now).await.unwrap(), Created::Yes);
    assert_eq!(store.load(one.handle, now).await.unwrap(), Some(one));
    store.close().await;
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_at_the_start_is_used_when_it_comes() {
    let Some(server) = StandIn::start(0) else { return };
    let (port, config) = (server.port, server.config());
    drop(server);

    let started = Instant::now();
    let store = MongoStore::open(config.clone()).unwrap();
    assert!(started.elapsed() < Duration::from_millis(200));
    assert_unavailable(&store).await;

    let server = StandIn::start(port).unwrap();
    wait_for(&store).await;
    wait_for_indexes(&config).await;
    let one = record(1);
    assert_eq!(store.create(Arc::clone(&one), one.created_at).await.unwrap(), Created::Yes);
    store.close().await;
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_given_up_in_time() {
    let Some(server) = StandIn::start(0) else { return };
    let store = MongoStore::open(server.config()).unwrap();
    wait_for(&store).await;
    server.freeze();
    for _ in 0..3 {
        assert_unavailable(&store).await;
    }
    server.thaw();
    wait_for(&store).await;
    let one = record(2);
    assert_eq!(store.create(Arc::clone(&one), one.created_at).await.unwrap(), Created::Yes);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_store_ends_its_tasks_and_refuses_calls() {
    // Nothing listens there: port 1 belongs to a service that no machine runs.
    let config = config("127.0.0.1:1", "sessman".into());
    let store = MongoStore::open(config.clone()).unwrap();
    let started = Instant::now();
    store.close().await;
    store.close().await;
    assert!(started.elapsed() < 3 * CALL_LIMIT);
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));

    let connection = Connection::new(config);
    let making = indexes::make(&connection);
    assert!(tokio::time::timeout(Duration::from_millis(50), making).await.is_err(), "it goes on trying");
}
