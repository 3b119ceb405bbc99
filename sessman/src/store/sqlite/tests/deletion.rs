//! Deleting many records.

use super::*;

#[tokio::test]
async fn ten_thousand_sessions_end_in_one_commit() {
    const SESSIONS: u32 = 10_000;
    let folder = TempDir::new().unwrap();
    let store = Arc::new(open_in(&folder));
    let calls = (0..SESSIONS + 1).map(|n| {
        let store = store.clone();
        async move {
            // A writer that is overrun says so, which is not what this is about.
            while store.create(record(n, 10), at(0)).await.is_err() {
                tokio::task::yield_now().await;
            }
        }
    });
    for call in calls.map(tokio::spawn).collect::<Vec<_>>() {
        call.await.unwrap();
    }
    let before = store.write_counts();
    let targets: Vec<Target> =
        (0..SESSIONS).map(|n| Target::incarnation(record(n, 0).handle, record(n, 0).mark)).collect();
    assert_eq!(store.delete(&targets).await.unwrap().len(), targets.len());
    let after = store.write_counts();
    assert_eq!((after.writes - before.writes, after.commits - before.commits), (1, 1));
    assert_eq!(store.counts(at(0), &[]).await.unwrap().active, 1);
    assert!(!is_stored(&store, 0).await && is_stored(&store, SESSIONS).await);
    store.close().await;
}

/// Each record is asked of the cache first, and else of the file.
#[tokio::test]
async fn what_a_target_says_is_compared_with_and_without_the_cache() {
    for is_cached in [true, false] {
        let folder = TempDir::new().unwrap();
        let store = if is_cached { open_in(&folder) } else { open_uncached_in(&folder) };
        create(&store, 1).await;
        let this = Target {
            handle: record(1, 0).handle,
            mark: Some(record(1, 0).mark),
            secret_hash: Some(SecretHash::from([7; 32])),
            last_activity: Some(at(0)),
            version: Some(1),
        };
        for other in [
            Target { mark: Some(Mark::from([1; 8])), ..this },
            Target { secret_hash: Some(SecretHash::from([8; 32])), ..this },
            Target { last_activity: Some(at(1)), ..this },
            Target { version: Some(2), ..this },
            Target { handle: record(2, 0).handle, ..this },
        ] {
            assert_eq!(store.delete(&[other]).await.unwrap(), [], "{other:?}");
        }
        assert_eq!(store.delete(&[this]).await.unwrap(), [this.handle]);
        store.close().await;
    }
}
