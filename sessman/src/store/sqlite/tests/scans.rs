//! Questions for which a great part of the file is read, beside others.

use futures_util::TryFutureExt as _;
use futures_util::future::BoxFuture;

use super::*;
use crate::store::Listing;

/// It never ends.
const ENDLESS: &str = "WITH RECURSIVE numbers(n) AS (VALUES(1) UNION ALL SELECT n + 1 FROM numbers) SELECT count(*) FROM numbers";

/// Keeps the thread of the scans busy until the sender is dropped. Returns once it is.
fn hold_scans(store: &SqliteStore) -> (mpsc::Sender<()>, Arc<()>) {
    let ((begun, has_begun), (release, released)) = (mpsc::channel(), mpsc::channel());
    let caller = Arc::new(());
    let query: Query = Box::new(move |_| {
        begun.send(()).unwrap();
        assert!(released.recv().is_err());
    });
    assert!(store.scans.push(Scan { caller: Arc::downgrade(&caller), query }).is_ok());
    has_begun.recv().unwrap();
    (release, caller)
}

#[tokio::test]
async fn two_counts_at_once_hold_up_no_session() {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(open_uncached_in(&folder));
    for n in 0..20 {
        create(&store, n).await;
    }
    let held = hold_scans(&store);
    let counts: Vec<_> = (0..2)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.counts(at(0), &[at(0)]).await.unwrap() })
        })
        .collect();
    tokio::task::yield_now().await;
    // Each is read from the file by a reader; if a count had one of them, these would wait for it.
    for n in 0..20 {
        assert!(is_stored(&store, n).await);
    }
    let listing = Listing { user_id: Some("ada"), limit: 5, ..Listing::default() };
    assert_eq!(store.list(listing, at(0)).await.unwrap().items.len(), 5);
    assert_eq!(store.outlines(&[record(1, 0).handle]).await.unwrap().len(), 1);
    assert!(counts.iter().all(|count| !count.is_finished()), "one scan at a time");
    drop(held);
    for count in counts {
        assert_eq!(count.await.unwrap(), Counts { active: 20, expired: 0, since: vec![20] });
    }
    store.close().await;
}

/// Every call that goes through the file, or a great part of it.
#[tokio::test]
async fn whatever_reads_much_waits_for_its_turn() {
    let folder = TempDir::new().unwrap();
    let store = open_uncached_in(&folder);
    create(&store, 1).await;
    let held = hold_scans(&store);
    let listing = Listing { limit: 5, ..Listing::default() };
    let mut calls: [(&str, BoxFuture<'_, Result<(), StoreError>>); 5] = [
        ("counts", Box::pin(store.counts(at(0), &[]).map_ok(drop))),
        ("list", Box::pin(store.list(listing, at(0)).map_ok(drop))),
        ("records", Box::pin(store.records(None, 5, at(0)).map_ok(drop))),
        ("all places", Box::pin(store.all_places(None, 5).map_ok(drop))),
        ("checkup", Box::pin(store.checkup().map_ok(drop))),
    ];
    for (what, call) in &mut calls {
        assert!(tokio::time::timeout(Duration::ZERO, call).await.is_err(), "{what} waits");
    }
    assert!(is_stored(&store, 1).await);
    drop(held);
    for (_, call) in calls {
        call.await.unwrap();
    }
    store.close().await;
}

#[tokio::test]
async fn a_scan_whose_caller_leaves_is_interrupted() {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(open_uncached_in(&folder));
    create(&store, 1).await;
    let (begun, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
    let (ended, mut has_ended) = tokio::sync::mpsc::unbounded_channel();
    let endless = tokio::spawn({
        let store = store.clone();
        async move {
            let query = move |connection: &Connection| {
                begun.send(()).unwrap();
                let counted = connection.query_row(ENDLESS, [], |row| row.get::<_, i64>(0));
                ended.send(counted.as_ref().err().and_then(rusqlite::Error::sqlite_error_code)).unwrap();
                counted
            };
            store.scan(query).await
        }
    });
    has_begun.recv().await.unwrap();
    let next = tokio::spawn({
        let store = store.clone();
        async move { store.counts(at(0), &[at(0)]).await.unwrap().active }
    });
    tokio::task::yield_now().await;
    assert!(has_ended.try_recv().is_err() && !next.is_finished(), "as long as somebody waits, it goes on");
    endless.abort();
    assert_eq!(has_ended.recv().await.unwrap(), Some(rusqlite::ErrorCode::OperationInterrupted));
    assert_eq!(next.await.unwrap(), 1, "whoever waits behind it is answered, and not interrupted");
    store.close().await;
}

#[tokio::test]
async fn a_scan_whose_caller_has_left_is_not_begun() {
    let folder = TempDir::new().unwrap();
    let store = open_uncached_in(&folder);
    create(&store, 1).await;
    let held = hold_scans(&store);
    let (begun, has_begun) = mpsc::channel();
    let mut left = Box::pin(store.scan(move |_| {
        begun.send(()).unwrap();
        Ok(())
    }));
    assert!(tokio::time::timeout(Duration::ZERO, &mut left).await.is_err());
    drop(left);
    drop(held);
    assert_eq!(store.counts(at(0), &[]).await.unwrap().active, 1);
    assert!(has_begun.try_recv().is_err());
    store.close().await;
}

/// A page of expired sessions shows nothing, and would go on for as long as there are some.
#[tokio::test]
async fn a_page_of_expired_sessions_ends() {
    let folder = TempDir::new().unwrap();
    let store = open_uncached_in(&folder);
    for n in 0..3 {
        create(&store, n).await;
    }
    const FILL: &str = "
        WITH RECURSIVE numbers(n) AS (VALUES(1) UNION ALL SELECT n + 1 FROM numbers WHERE n < 25000)
        INSERT INTO sessions (handle, secret_hash, user_id, created_at, updated_at, reset_at, last_activity, ttl,
                expires_at, version, schema, expiry_bucket, metadata, data)
            SELECT unhex(format('%024x', n)), zeroblob(32), 'ada', 0, 0, 0, 0, 0, 1, 1, 1, 0, '{}', '{}'
            FROM numbers";
    store.write(Sql(FILL)).await.unwrap();
    for user_id in [None, Some("ada")] {
        let (mut found, mut pages, mut after) = (0, 0, None);
        loop {
            let page = store.list(Listing { user_id, after, limit: 100, label: None }, at(10)).await.unwrap();
            (found, pages) = (found + page.items.len(), pages + 1);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!((found, pages), (3, 3), "each looks at a part of them");
    }
    store.close().await;
}
