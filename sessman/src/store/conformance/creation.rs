//! `create`: on a free handle, a live one, and one that only an expired record holds.

use super::*;

pub(crate) async fn a_record_is_found_under_its_handle_alone(store: Arc<dyn Store>) {
    assert_eq!(load(&*store, 1, 0).await, None);
    create(&*store, &record(1)).await;
    create(&*store, &record(2)).await;
    assert_eq!(load(&*store, 1, 0).await, Some(record(1)));
    assert_eq!(load(&*store, 2, 0).await, Some(record(2)));
    assert_eq!(load(&*store, 3, 0).await, None);
}

pub(crate) async fn a_live_record_is_never_replaced(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    let other = Record {
        secret_hash: secret(99),
        data: data(r#""other""#),
        user_id: Some("other".into()),
        created_at: at(TTL - 1),
        expires_at: at(9 * TTL),
        ..record(1)
    };
    let created = store.create(Arc::new(other), at(TTL - 1)).await.unwrap();
    assert_eq!(created, Created::Exists);
    assert_eq!(load(&*store, 1, TTL - 1).await, Some(record(1)));
    assert_eq!(load(&*store, 1, TTL).await, None);
    assert_eq!(list_all(&*store, Some("other"), 10, 0).await, []);
}

pub(crate) async fn an_expired_record_is_replaced(store: Arc<dyn Store>) {
    create(&*store, &Record { user_id: Some("before".into()), version: 7, ..record(1) }).await;
    let next = Record {
        secret_hash: secret(99),
        user_id: Some("after".into()),
        created_at: at(TTL),
        expires_at: at(2 * TTL),
        ..record(1)
    };
    create(&*store, &next).await;
    assert_eq!(load(&*store, 1, TTL).await, Some(next.clone()));
    let old_holder = attempt(&*store, 1, holder(1), &touch(TTL)).await;
    assert_eq!(old_holder, Updated::Missing);
    assert_eq!(list_all(&*store, Some("before"), 10, TTL).await, []);
    assert_eq!(list_all(&*store, Some("after"), 10, TTL).await, [next.summary()]);
    assert_eq!(store.counts(at(TTL), &[]).await.unwrap().active, 1);
    assert_eq!(store.counts(at(TTL), &[]).await.unwrap().expired, 0);
}

pub(crate) async fn a_deleted_record_makes_room(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    assert!(delete(&*store, 1, None).await);
    let next = Record { secret_hash: secret(99), ..record(1) };
    create(&*store, &next).await;
    assert_eq!(load(&*store, 1, 0).await, Some(next));
}
