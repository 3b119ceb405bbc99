//! `counts`, `purge_expired` and `ping`.

use super::super::Purged;
use super::*;

async fn counts(store: &dyn Store, millis: i64) -> (u64, u64) {
    counted(store, millis).await
}

pub(crate) async fn counts_follow_what_is_stored(store: Arc<dyn Store>) {
    assert_eq!(counts(&*store, 0).await, (0, 0));
    for n in 0..10 {
        create(&*store, &expiring(n, 1_000 * i64::from(n + 1))).await;
    }
    assert_eq!(counts(&*store, 0).await, (10, 0));
    assert_eq!(counts(&*store, 3_000).await, (7, 3));
    update(&*store, 9, holder(9), &touch(5_000)).await;
    assert!(delete(&*store, 0, None).await);
    assert_eq!(counts(&*store, 10_000).await, (1, 8));
    store.purge_expired(at(3_000), 100).await.unwrap();
    assert_eq!(counts(&*store, 10_000).await, (1, 6));
}

pub(crate) async fn purge_deletes_expired_records_alone(store: Arc<dyn Store>) {
    for n in 0..40 {
        create(&*store, &expiring(n, 60_000 * i64::from(n + 1))).await;
    }
    assert_eq!(store.purge_expired(at(0), 100).await.unwrap().len(), 0);
    assert_eq!(store.purge_expired(at(60_000 * 15), 100).await.unwrap().len(), 15);
    assert_eq!(counts(&*store, 60_000 * 15).await, (25, 0));
    let kept: Vec<_> = list_all(&*store, None, 100, 0).await.iter().map(|record| record.handle).collect();
    let mut expected: Vec<_> = (15..40).map(handle).collect();
    expected.sort_unstable();
    assert_eq!(kept, expected);
}

pub(crate) async fn purge_goes_in_slices(store: Arc<dyn Store>) {
    for n in 0..25 {
        create(&*store, &if n < 20 { expiring(n, 1_000) } else { record(n) }).await;
    }
    let mut slices = Vec::new();
    loop {
        slices.push(store.purge_expired(at(1_000), 8).await.unwrap().len());
        assert_eq!(counts(&*store, 1_000).await, (5, 20 - slices.iter().sum::<usize>() as u64));
        if slices.last() < Some(&8) {
            break;
        }
    }
    assert_eq!(slices, [8, 8, 4]);
    assert_eq!(store.purge_expired(at(1_000), 8).await.unwrap().len(), 0);
}

pub(crate) async fn purge_finds_what_was_extended_and_expired_later(store: Arc<dyn Store>) {
    // Many that were extended hide a few that expired behind them: a slice smaller than their number must find
    // those all the same, now and after a later expiry.
    for n in 0..30 {
        create(&*store, &expiring(n, 1_000)).await;
    }
    for n in 0..25 {
        update(&*store, n, holder(n), &touch(500)).await;
    }
    assert_eq!(store.purge_expired(at(1_000), 10).await.unwrap().len(), 5);
    assert_eq!(counts(&*store, 1_000).await, (25, 0));
    for n in 0..12 {
        update(&*store, n, holder(n), &touch(TTL)).await;
    }
    assert_eq!(store.purge_expired(at(500 + TTL - 1), 100).await.unwrap().len(), 0);
    assert_eq!(store.purge_expired(at(500 + TTL), 10).await.unwrap().len(), 10);
    assert_eq!(store.purge_expired(at(500 + TTL), 10).await.unwrap().len(), 3);
    assert_eq!(store.purge_expired(at(2 * TTL), 100).await.unwrap().len(), 12);
    assert_eq!(counts(&*store, 0).await, (0, 0));
}

pub(crate) async fn purge_finds_what_was_cut_short(store: Arc<dyn Store>) {
    create(&*store, &expiring(1, 100 * TTL)).await;
    create(&*store, &expiring(2, 100 * TTL)).await;
    let soon = Times { expires_at: at(2_000), ..times(1_000) };
    update(&*store, 1, holder(1), &Change::touch(at(1_000), soon)).await;
    assert_eq!(counts(&*store, 2_000).await, (1, 1));
    assert_eq!(store.purge_expired(at(1_999), 10).await.unwrap().len(), 0);
    let purged = Purged { handle: handle(1), user_id: None };
    assert_eq!(store.purge_expired(at(2_000), 10).await.unwrap(), [purged]);
    assert_eq!(load(&*store, 1, 0).await, None);
    assert!(load(&*store, 2, 2_000).await.is_some());
}

pub(crate) async fn ping_answers(store: Arc<dyn Store>) {
    store.ping().await.unwrap();
    create(&*store, &record(1)).await;
    store.ping().await.unwrap();
    assert_eq!(load(&*store, 1, 0).await, Some(record(1)));
    assert_eq!(counts(&*store, 0).await, (1, 0));
}

pub(crate) async fn live_records_are_counted_by_their_age(store: Arc<dyn Store>) {
    for (n, millis) in [(1, 0), (2, 1_000), (3, 1_000), (4, 5_000)] {
        create(&*store, &Record { created_at: at(millis), ..record(n) }).await;
    }
    create(&*store, &Record { created_at: at(2_000), ..expiring(5, 6_000) }).await;
    let moments = [at(0), at(1), at(1_000), at(5_000), at(5_001)];
    assert_eq!(since(&*store, 6_000, &moments).await, [4, 3, 3, 1, 0]);
    assert_eq!(since(&*store, 5_999, &moments).await, [5, 4, 4, 1, 0]);
    assert_eq!(since(&*store, TTL, &moments).await, [0; 5]);
    assert!(since(&*store, 0, &[]).await.is_empty());
}

async fn since(store: &dyn Store, millis: i64, moments: &[Timestamp]) -> Vec<u64> {
    store.counts(at(millis), moments).await.unwrap().since
}
