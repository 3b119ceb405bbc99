//! The server goes away and comes back, under the same address.

use std::time::Instant;

use super::super::servers::CALL_LIMIT;
use super::*;
use crate::store::conformance::away::{assert_unavailable, freeze, thaw, wait_for};
use crate::store::{Created, Store, StoreError};

const KEPT: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_and_comes_back_needs_no_new_store_and_has_what_was_answered() {
    let Some(mut server) = Server::start(KEPT) else { return };
    let store = RedisStore::open(&server.config()).unwrap();
    let (one, now) = (record(1), record(1).created_at);
    assert_eq!(store.create(one.clone(), now).await.unwrap(), Created::Yes);

    server.kill();
    for _ in 0..3 {
        assert_unavailable(&store).await;
    }
    server.start_again(KEPT);
    wait_for(&store).await;
    assert_eq!(store.load(one.handle, now).await.unwrap().live(), Some(one));
    assert_eq!(store.create(record(2), now).await.unwrap(), Created::Yes);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_at_the_start_is_used_when_it_comes() {
    let Some(mut server) = Server::start(&[]) else { return };
    server.kill();
    let started = Instant::now();
    let store = RedisStore::open(&server.config()).unwrap();
    assert!(started.elapsed() < Duration::from_millis(200));
    assert_unavailable(&store).await;
    server.start_again(&[]);
    wait_for(&store).await;
    assert_eq!(store.create(record(1), record(1).created_at).await.unwrap(), Created::Yes);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_given_up_in_time() {
    let Some(server) = Server::start(&[]) else { return };
    let store = RedisStore::open(&server.config()).unwrap();
    wait_for(&store).await;
    freeze(&server.child);
    for _ in 0..3 {
        assert_unavailable(&store).await;
    }
    thaw(&server.child);
    wait_for(&store).await;
    assert_eq!(store.create(record(2), record(2).created_at).await.unwrap(), Created::Yes);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_the_server_closed_while_nobody_called_costs_no_call() {
    let Some(server) = Server::start(&[]) else { return };
    let store = RedisStore::open(&server.config()).unwrap();
    let now = record(1).created_at;
    for n in 1..20 {
        assert_eq!(store.create(record(n), now).await.unwrap(), Created::Yes);
        assert_eq!(server.cli(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]), "1");
        // Reading may be done twice, and notices what happened.
        assert_eq!(store.load(record(n).handle, now).await.unwrap().live(), Some(record(n)));
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_store_refuses_calls_and_hangs_up() {
    let Some(server) = Server::start(&[]) else { return };
    let store = RedisStore::open(&server.config()).unwrap();
    wait_for(&store).await;
    let started = Instant::now();
    store.close().await;
    store.close().await;
    assert!(started.elapsed() < 3 * CALL_LIMIT);
    for _ in 0..3 {
        assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
    }
    let connections = || server.cli(&["CLIENT", "LIST", "TYPE", "normal"]).lines().count();
    while connections() > 1 {
        assert!(started.elapsed() < Duration::from_secs(15), "it holds on to its connection");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_takes_no_writes_and_is_used_once_it_is_a_master() {
    let Some(server) = Server::start(&[]) else { return };
    let store = RedisStore::open(&server.config()).unwrap();
    wait_for(&store).await;
    assert_eq!(server.cli(&["REPLICAOF", "127.0.0.1", "1"]), "OK");
    let (one, now) = (record(1), record(1).created_at);
    assert!(matches!(store.create(one.clone(), now).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
    assert_eq!(server.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    wait_for(&store).await;
    assert_eq!(store.create(one, now).await.unwrap(), Created::Yes);
    store.close().await;
}
