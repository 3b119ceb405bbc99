//! The log beside the file.

use super::*;

#[tokio::test]
async fn a_log_does_not_grow_while_writes_go_on() {
    let folder = TempDir::new().unwrap();
    let store = open(SqliteConfig { durability: Durability::Normal, ..config(path_in(&folder)) }).unwrap();
    create(&store, 1).await;
    let mut greatest = 0;
    for n in 0..600 {
        // Some 50 pages each.
        let times = Times { reset_at: at(1), last_activity: at(1), expires_at: at(2_000_000) };
        let change = Change { data: Some(text(200_000 + n)), ..Change::touch(at(1), times) };
        let updated = store.update(&record(1, 0), Unless::Gone, &change).await.unwrap();
        assert!(matches!(updated, Updated::Done { .. }));
        greatest = greatest.max(fs::metadata(folder.path().join("sessions.db-wal")).unwrap().len());
    }
    // At 16,000 pages the writer itself would see to it.
    assert!(greatest < 15_000 * 4_120, "{greatest} bytes");
    store.close().await;
    let store = open_in(&folder);
    let found = store.load(record(1, 0).handle, at(1)).await.unwrap().live().unwrap();
    assert_eq!((found.version, &found.data), (601, &text(200_599)));
    store.close().await;
}

#[tokio::test]
async fn a_closed_store_keeps_everything_for_the_next() {
    let folder = TempDir::new().unwrap();
    let store = open_in(&folder);
    for n in 0..50 {
        create(&store, n).await;
    }
    assert!(delete(&store, 3).await);
    store.close().await;
    assert!(matches!(store.create(record(99, 1), at(0)).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.load(record(1, 1).handle, at(0)).await, Err(StoreError::Unavailable(_))));
    store.close().await;
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files.len(), 2, "the file and its lock, and no log: {files:?}");

    let store = open_in(&folder);
    assert_eq!(store.counts(at(0), &[]).await.unwrap().active, 49);
    assert_eq!(*store.load(record(7, 0).handle, at(0)).await.unwrap().live().unwrap(), *record(7, 200));
    assert!(!is_stored(&store, 3).await);
    store.close().await;
}
