//! `delete` and `clear`.

use super::*;

pub(crate) async fn a_wrong_secret_deletes_nothing(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    assert!(!store.delete(handle(1), Some(secret(99))).await.unwrap());
    assert!(!store.delete(handle(2), None).await.unwrap());
    assert!(!store.delete(handle(2), Some(secret(1))).await.unwrap());
    assert_eq!(load(&*store, 1, 0).await, Some(record(1)));
}

pub(crate) async fn the_right_secret_deletes_once(store: Arc<dyn Store>) {
    for n in [1, 2] {
        create(&*store, &Record { user_id: Some("ada".into()), ..record(n) }).await;
    }
    assert!(store.delete(handle(1), Some(secret(1))).await.unwrap());
    assert!(!store.delete(handle(1), Some(secret(1))).await.unwrap());
    assert_eq!(load(&*store, 1, 0).await, None);
    let left: Vec<_> =
        list_all(&*store, Some("ada"), 10, 0).await.iter().map(|record| record.handle).collect();
    assert_eq!(left, [handle(2)]);
}

pub(crate) async fn no_secret_deletes_whatever_it_is(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    assert!(store.delete(handle(1), None).await.unwrap());
    assert!(!store.delete(handle(1), None).await.unwrap());
    assert_eq!(load(&*store, 1, 0).await, None);
}

pub(crate) async fn an_expired_record_can_be_deleted(store: Arc<dyn Store>) {
    // Nothing passes a `now` here: what is stored is deleted, live or not.
    create(&*store, &record(1)).await;
    assert_eq!(load(&*store, 1, TTL).await, None);
    assert!(!store.delete(handle(1), Some(secret(2))).await.unwrap());
    assert!(store.delete(handle(1), Some(secret(1))).await.unwrap());
    assert_eq!(store.counts(at(TTL)).await.unwrap(), Default::default());
}

pub(crate) async fn clear_deletes_everything(store: Arc<dyn Store>) {
    assert_eq!(store.clear().await.unwrap(), 0);
    for n in 0..20 {
        let user_id = (n % 2 == 0).then(|| "ada".into());
        create(&*store, &Record { user_id, ..expiring(n, 1_000 * i64::from(n + 1)) }).await;
    }
    // Ten of the twenty are expired here; `clear` takes them too.
    assert_eq!(store.counts(at(10_000)).await.unwrap().expired, 10);
    assert_eq!(store.clear().await.unwrap(), 20);
    assert_eq!(store.counts(at(0)).await.unwrap(), Default::default());
    assert_eq!(list_all(&*store, None, 5, 0).await, []);
    assert_eq!(list_all(&*store, Some("ada"), 5, 0).await, []);
    assert_eq!(store.clear().await.unwrap(), 0);
    create(&*store, &record(1)).await;
    assert_eq!(load(&*store, 1, 0).await, Some(record(1)));
}
