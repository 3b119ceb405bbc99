//! Expiry, at the exact millisecond: live at `expires_at - 1`, gone at `expires_at`.

use super::*;

pub(crate) async fn load_stops_at_the_exact_millisecond(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    assert_eq!(load(&*store, 1, TTL - 1).await, Some(record(1)));
    assert_eq!(load(&*store, 1, TTL).await, None);
    assert_eq!(load(&*store, 1, TTL + 1).await, None);
}

pub(crate) async fn an_expired_record_is_told_from_none(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    let Loaded::Expired(found) = load_both_ways(&*store, handle(1), at(TTL)).await else {
        panic!("it is stored, and its time is over")
    };
    assert_eq!((found.handle, &found.user_id, found.expires_at), (handle(1), &record(1).user_id, at(TTL)));
    assert_eq!(load_both_ways(&*store, handle(2), at(TTL)).await, Loaded::Missing);
}

pub(crate) async fn update_stops_at_the_exact_millisecond(store: Arc<dyn Store>) {
    for n in [1, 2] {
        create(&*store, &record(n)).await;
    }
    let gone = attempt(&*store, 1, holder(1), &write(TTL, "1")).await;
    assert_eq!(gone, Updated::Missing);
    assert_eq!(load(&*store, 1, TTL).await, None, "an update must not bring an expired record back");
    let wrong_version = at_version(1, 5);
    assert_eq!(attempt(&*store, 1, wrong_version, &touch(TTL)).await, Updated::Missing);

    update(&*store, 2, holder(2), &touch(TTL - 1)).await;
    assert!(load(&*store, 2, TTL).await.is_some());
}

pub(crate) async fn list_stops_at_the_exact_millisecond(store: Arc<dyn Store>) {
    let owned = Record { user_id: Some("ada".into()), ..record(1) };
    create(&*store, &owned).await;
    for user_id in [None, Some("ada")] {
        assert_eq!(list_all(&*store, user_id, 5, TTL - 1).await, [owned.summary()]);
        assert_eq!(list_all(&*store, user_id, 5, TTL).await, []);
    }
}

pub(crate) async fn counts_turn_at_the_exact_millisecond(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    let before = store.counts(at(TTL - 1), &[]).await.unwrap();
    assert_eq!((before.active, before.expired), (1, 0));
    let after = store.counts(at(TTL), &[]).await.unwrap();
    assert_eq!((after.active, after.expired), (0, 1));
}

pub(crate) async fn purge_begins_at_the_exact_millisecond(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    assert_eq!(store.purge_expired(at(TTL - 1), 10).await.unwrap().len(), 0);
    assert_eq!(load(&*store, 1, TTL - 1).await, Some(record(1)));
    assert_eq!(store.purge_expired(at(TTL), 10).await.unwrap().len(), 1);
    assert_eq!(load(&*store, 1, TTL - 1).await, None);
}

pub(crate) async fn an_update_moves_expiry_either_way(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    update(&*store, 1, holder(1), &touch(1_000)).await;
    assert!(load(&*store, 1, TTL + 999).await.is_some());
    assert_eq!(load(&*store, 1, TTL + 1_000).await, None);

    let sooner = Times { expires_at: at(3_000), ..times(2_000) };
    update(&*store, 1, holder(1), &Change::touch(at(2_000), sooner)).await;
    assert!(load(&*store, 1, 2_999).await.is_some());
    assert_eq!(load(&*store, 1, 3_000).await, None);
}
