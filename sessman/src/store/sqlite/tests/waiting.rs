//! Callers that wait for the writer, or have gone away.

use super::*;

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
