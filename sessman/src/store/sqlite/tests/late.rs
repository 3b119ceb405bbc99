//! Changes that were asked for in time and made late.

use super::*;

#[tokio::test]
async fn an_update_that_waited_past_the_end_revives_nothing() {
    for is_cached in [true, false] {
        let folder = TempDir::new().unwrap();
        let clock = Arc::new(ManualClock::new(at(999_900)));
        let cache_bytes = if is_cached { CACHE_BYTES } else { 0 };
        let config = SqliteConfig { cache_bytes, ..config(path_in(&folder)) };
        let store = Arc::new(SqliteStore::open(config, clock.clone(), &Unlimited::shared()).unwrap());
        create(&store, 1).await;
        let release = hold(&store);
        let update = tokio::spawn({
            let store = store.clone();
            async move {
                let now = at(999_900);
                let times = Times { reset_at: now, last_activity: now, expires_at: at(2_000_000) };
                store.update(&record(1, 0), Unless::Gone, &Change::touch(now, times)).await.unwrap()
            }
        });
        tokio::task::yield_now().await;
        // Whoever asks now hears that it has ended.
        clock.advance(Duration::from_millis(100));
        drop(release);
        assert_eq!(update.await.unwrap(), Updated::Missing);
        let loaded = store.load(record(1, 0).handle, clock.now()).await.unwrap();
        assert!(matches!(loaded, Loaded::Expired(_)), "{loaded:?}");
        store.close().await;
    }
}

/// A commit can take its time on a slow disk.
#[tokio::test]
async fn nobody_hears_of_an_end_that_a_commit_in_flight_puts_off() {
    for is_cached in [true, false] {
        let folder = TempDir::new().unwrap();
        let clock = Arc::new(ManualClock::new(at(999_900)));
        let cache_bytes = if is_cached { CACHE_BYTES } else { 0 };
        let config = SqliteConfig { cache_bytes, ..config(path_in(&folder)) };
        let store = Arc::new(SqliteStore::open(config, clock.clone(), &Unlimited::shared()).unwrap());
        create(&store, 1).await;
        create(&store, 2).await;
        let release = hold(&store);
        let now = clock.now();
        let times = Times { reset_at: now, last_activity: now, expires_at: at(2_000_000) };
        let (update, updated) =
            Call::boxed(Update::new(&record(1, 0), Unless::Gone, &Change::touch(now, times)), None);
        assert!(store.jobs.push(update).is_ok());
        // In the same transaction: the change is made, and not yet committed.
        let ((begun, has_begun), (commit, committing)) = (mpsc::channel(), mpsc::channel::<()>());
        // Its caller stays: what nobody waits for is not begun.
        let (holding, _held) = Call::boxed(Hold { begun, released: committing.into() }, None);
        assert!(store.jobs.push(holding).is_ok());
        drop(release);
        has_begun.recv().unwrap();
        clock.advance(Duration::from_millis(100));
        let late = tokio::spawn({
            let (store, now) = (store.clone(), clock.now());
            async move { store.load(record(1, 0).handle, now).await.unwrap() }
        });
        // The readers come to these after they came to that one.
        for _ in 0..100 {
            tokio::task::yield_now().await;
            store.outlines(&[record(2, 0).handle]).await.unwrap();
        }
        assert!(!late.is_finished());
        drop(commit);
        let loaded = late.await.unwrap().live();
        assert_eq!(loaded.unwrap().expires_at, at(2_000_000));
        assert!(matches!(updated.await.unwrap(), Ok(Updated::Done { .. })));
        store.close().await;
    }
}

/// A change that comes from a clock that is ahead of the store's is compared with its own moment.
#[tokio::test]
async fn the_moment_of_a_change_counts_where_it_is_later() {
    let folder = TempDir::new().unwrap();
    let store = open_in(&folder);
    create(&store, 1).await;
    let times = Times { reset_at: at(0), last_activity: at(0), expires_at: at(2_000_000) };
    let late = Change::touch(at(1_000_000), times);
    assert_eq!(store.update(&record(1, 0), Unless::Gone, &late).await.unwrap(), Updated::Missing);
    store.close().await;
}
