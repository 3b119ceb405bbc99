//! How large the file is.

use super::*;

#[tokio::test]
async fn a_file_shrinks_after_a_great_clean_up_and_not_after_a_small_one() {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(open_in(&folder));
    let calls = (0..4_000).map(|n| {
        let store = store.clone();
        async move { store.create(record(n, 1_000), at(0)).await.unwrap() }
    });
    all_at_once(&store, calls).await;
    let spare = || async { store.scan(schema::spare_pages).await.unwrap() };
    let size = || async {
        let pages = |connection: &Connection| {
            connection.pragma_query_value(None, "page_count", |row| row.get::<_, u32>(0))
        };
        store.read(pages).await.unwrap()
    };
    let full = size().await;
    for n in 0..200 {
        assert!(delete(&store, n).await);
    }
    assert_eq!(store.purge_expired(at(0), 250).await.unwrap(), []);
    assert_eq!(size().await, full, "what is left over is for the sessions that come next");

    while store.purge_expired(at(1_000_000), 250).await.unwrap().len() == 250 {
        assert!(size().await <= full);
    }
    let left = size().await;
    assert!(left < 400 && full > 1_200, "{full} pages before, {left} after");
    assert_eq!(spare().await, 0);
    for n in 0..10 {
        create(&store, n).await;
    }
    store.close().await;
    let bytes = fs::metadata(path_in(&folder)).unwrap().len();
    assert!(bytes < 400 * 4_096, "{bytes}");
    let store = open_in(&folder);
    assert_eq!(store.counts(at(0), &[]).await.unwrap().active, 10);
    store.close().await;
}
