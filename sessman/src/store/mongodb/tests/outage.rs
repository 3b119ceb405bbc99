//! The server goes away and comes back, under the same address.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::connection::CALL_LIMIT;
use super::*;
use crate::store::conformance::away::{assert_unavailable, freeze, record, thaw, wait_for};
use crate::store::{Created, Store, StoreError};

/// A stand-in of this test's own.
pub(super) struct StandIn {
    child: Child,
    pub(super) port: u16,
}

impl StandIn {
    /// Starts one on `port`; 0 takes any free one.
    pub(super) fn start(port: u16) -> Option<Self> {
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

/// Waits until the store has made its indexes, which nothing asks it for.
pub(super) async fn wait_for_indexes(config: &MongoConfig) {
    let started = Instant::now();
    while server::index_names(&documents(config).await).await
        != ["_id_", "label_handles", "session_ttl", "user_handles", "user_sessions"]
    {
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
    assert_eq!(store.load(one.handle, now).await.unwrap().live(), None);
    assert_eq!(store.create(Arc::clone(&one), now).await.unwrap(), Created::Yes);
    assert_eq!(store.load(one.handle, now).await.unwrap().live(), Some(one));
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
    freeze(&server.child);
    for _ in 0..3 {
        assert_unavailable(&store).await;
    }
    thaw(&server.child);
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
