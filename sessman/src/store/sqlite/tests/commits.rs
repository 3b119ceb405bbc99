//! Writes that share a commit, and those among them that fail.

use super::*;

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
