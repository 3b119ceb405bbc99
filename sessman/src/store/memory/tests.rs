//! The store alone, and under the conformance suite.

use std::sync::Arc;
use std::time::Duration;

use super::store::STEP;
use super::{MemoryConfig, MemoryStore};
use crate::budget::{Budget, Purse};
use crate::data::Data;
use crate::id::{Handle, SecretHash};
use crate::labels::Labels;
use crate::mark::Mark;
use crate::record::{Change, Record, Times, TtlSource};
use crate::store::conformance::{Fixture, conformance_tests};
use crate::store::{Counts, Created, Result, Store as _, StoreError, Target, Unless, Updated};
use crate::time::{ManualClock, Timestamp};

fn memory(config: MemoryConfig, now: i64) -> MemoryStore {
    MemoryStore::new(config, Arc::new(ManualClock::new(at(now))))
}

async fn open() -> Option<Fixture> {
    Some(Fixture::new(memory(MemoryConfig::default(), 0)))
}

conformance_tests!(open);

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn record(n: u8, data_bytes: usize, expires_at: i64) -> Arc<Record> {
    Arc::new(Record {
        handle: Handle::from([n; 12]),
        mark: Mark::from([n; 8]),
        secret_hash: SecretHash::from([n; 32]),
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
        expires_at: at(expires_at),
        version: 1,
        mac: None,
    })
}

fn text(bytes: usize) -> Data {
    Data::parse(&format!("\"{}\"", "x".repeat(bytes))).unwrap()
}

fn write(millis: i64, data: Option<Data>) -> Change {
    let times = Times { reset_at: at(millis), last_activity: at(millis), expires_at: at(2_000) };
    Change { data, ..Change::touch(at(millis), times) }
}

async fn update(store: &MemoryStore, n: u8, change: Change) -> Result<Updated> {
    store.update(&record(n, 2, 1_000), Unless::Gone, &change).await
}

/// A store with room for four records of 10,000 bytes and not for five.
async fn full() -> MemoryStore {
    let store = memory(MemoryConfig { max_bytes: 48_000 }, 0);
    for n in 0..4 {
        assert_eq!(store.create(record(n * 60, 10_000, 1_000), at(0)).await.unwrap(), Created::Yes);
    }
    store
}

#[tokio::test]
async fn a_full_store_takes_no_new_session_and_drops_no_live_one() {
    let store = full().await;
    let refused = store.create(record(250, 10_000, 1_000), at(999)).await;
    assert!(matches!(refused, Err(StoreError::Full)));
    assert_eq!(
        store.counts(at(999), &[]).await.unwrap(),
        Counts { active: 4, expired: 0, since: Vec::new() }
    );
    assert_eq!(store.create(record(0, 10_000, 1_000), at(999)).await.unwrap(), Created::Exists);
}

#[tokio::test]
async fn expired_records_make_room() {
    let store = full().await;
    assert_eq!(store.create(record(250, 10_000, 2_000), at(1_000)).await.unwrap(), Created::Yes);
    assert_eq!(
        store.counts(at(1_000), &[]).await.unwrap(),
        Counts { active: 1, expired: 3, since: Vec::new() }
    );
}

#[tokio::test]
async fn a_full_store_refuses_only_updates_that_grow() {
    let store = full().await;
    let grown = update(&store, 60, write(10, Some(text(20_000)))).await;
    assert!(matches!(grown, Err(StoreError::Full)));
    assert_eq!(
        store.load(Handle::from([60; 12]), at(10)).await.unwrap().live(),
        Some(record(60, 10_000, 1_000))
    );
    for change in [write(20, None), write(20, Some(text(10_000))), write(20, Some(text(10)))] {
        assert!(matches!(update(&store, 60, change).await.unwrap(), Updated::Done { .. }));
    }
    // What that one gave back is free for another.
    assert!(matches!(update(&store, 0, write(30, Some(text(15_000)))).await.unwrap(), Updated::Done { .. }));
}

#[tokio::test]
async fn there_are_no_more_records_than_there_is_memory_for() {
    let purse = Purse::of(2_000_000);
    let budget: Arc<dyn Budget> = purse.clone();
    let clock = Arc::new(ManualClock::new(at(0)));
    let store = MemoryStore::drawing(MemoryConfig::default(), clock, &budget);
    let mut count = 0;
    while store.create(record(count, 100_000, 1_000), at(0)).await.is_ok() {
        count += 1;
    }
    assert_eq!(count, 19);
    assert!(purse.left() < 100_000);
    // Those that expired make room here, too.
    store.create(record(200, 100_000, 2_000), at(1_000)).await.unwrap();
    store.clear().await.unwrap();
    assert!(purse.left() > 2_000_000 - 5 * STEP);
    drop(store);
    assert_eq!(purse.left(), 2_000_000);
}

#[tokio::test]
async fn an_update_that_came_past_the_end_revives_nothing() {
    for (now, lives) in [(999, true), (1_000, false)] {
        let store = memory(MemoryConfig::default(), now);
        store.create(record(1, 2, 1_000), at(0)).await.unwrap();
        // Asked for in time; the thread stood still meanwhile.
        let updated = update(&store, 1, write(990, None)).await.unwrap();
        assert_eq!(matches!(updated, Updated::Done { .. }), lives);
        assert_eq!(updated == Updated::Missing, !lives);
    }
}

#[tokio::test]
async fn what_leaves_the_store_gives_its_bytes_back() {
    let store = full().await;
    store.create(record(0, 50, 3_000), at(1_000)).await.unwrap();
    assert_eq!(store.delete(&[Target::whatever(Handle::from([60; 12]))]).await.unwrap().len(), 1);
    assert_eq!(store.purge_expired(at(1_000), 1).await.unwrap().len(), 1);
    assert!(store.used_bytes() > 10_000);
    assert_eq!(store.clear().await.unwrap(), 2);
    assert_eq!(store.used_bytes(), 0);
}
