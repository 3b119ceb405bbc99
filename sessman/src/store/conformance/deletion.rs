//! `delete` and `clear`.

use super::*;

pub(crate) async fn a_wrong_secret_deletes_nothing(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    assert!(!delete(&*store, 1, Some(secret(99))).await);
    assert!(!delete(&*store, 2, None).await);
    assert!(!delete(&*store, 2, Some(secret(1))).await);
    assert_eq!(load(&*store, 1, 0).await, Some(record(1)));
}

pub(crate) async fn the_right_secret_deletes_once(store: Arc<dyn Store>) {
    for n in [1, 2] {
        create(&*store, &Record { user_id: Some("ada".into()), ..record(n) }).await;
    }
    assert!(delete(&*store, 1, Some(secret(1))).await);
    assert!(!delete(&*store, 1, Some(secret(1))).await);
    assert_eq!(load(&*store, 1, 0).await, None);
    let left: Vec<_> =
        list_all(&*store, Some("ada"), 10, 0).await.iter().map(|record| record.handle).collect();
    assert_eq!(left, [handle(2)]);
}

pub(crate) async fn no_secret_deletes_whatever_it_is(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    assert!(delete(&*store, 1, None).await);
    assert!(!delete(&*store, 1, None).await);
    assert_eq!(load(&*store, 1, 0).await, None);
}

pub(crate) async fn an_expired_record_can_be_deleted(store: Arc<dyn Store>) {
    // Nothing passes a `now` here: what is stored is deleted, live or not.
    create(&*store, &record(1)).await;
    assert_eq!(load(&*store, 1, TTL).await, None);
    assert!(!delete(&*store, 1, Some(secret(2))).await);
    assert!(delete(&*store, 1, Some(secret(1))).await);
    assert_eq!(counted(&*store, TTL).await, (0, 0));
}

pub(crate) async fn clear_deletes_everything(store: Arc<dyn Store>) {
    assert_eq!(store.clear().await.unwrap(), 0);
    for n in 0..20 {
        let user_id = (n % 2 == 0).then(|| "ada".into());
        create(&*store, &Record { user_id, ..expiring(n, 1_000 * i64::from(n + 1)) }).await;
    }
    // Ten of the twenty are expired here; `clear` takes them too.
    assert_eq!(store.counts(at(10_000), &[]).await.unwrap().expired, 10);
    assert_eq!(store.clear().await.unwrap(), 20);
    assert_eq!(counted(&*store, 0).await, (0, 0));
    assert_eq!(list_all(&*store, None, 5, 0).await, []);
    assert_eq!(list_all(&*store, Some("ada"), 5, 0).await, []);
    assert_eq!(store.clear().await.unwrap(), 0);
    create(&*store, &record(1)).await;
    assert_eq!(load(&*store, 1, 0).await, Some(record(1)));
}

pub(crate) async fn another_incarnation_is_not_deleted(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    let other = Target::incarnation(handle(1), mark(2));
    assert_eq!(store.delete(&[other]).await.unwrap(), []);
    assert_eq!(load(&*store, 1, 0).await, Some(record(1)));
    let this = Target::incarnation(handle(1), mark(1));
    assert_eq!(store.delete(&[this]).await.unwrap(), [handle(1)]);
    assert_eq!(store.delete(&[this]).await.unwrap(), []);
}

pub(crate) async fn what_was_written_to_is_not_deleted(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    update(&*store, 1, holder(1), &touch(1_000)).await;
    let at_version = |version| Target { version: Some(version), ..Target::whatever(handle(1)) };
    let as_read = |millis| Target { last_activity: Some(at(millis)), ..Target::whatever(handle(1)) };
    assert_eq!(store.delete(&[as_read(0)]).await.unwrap(), []);
    assert!(load(&*store, 1, 1_000).await.is_some());
    assert_eq!(store.delete(&[as_read(1_000)]).await.unwrap(), [handle(1)]);
    create(&*store, &record(1)).await;
    update(&*store, 1, holder(1), &write(0, "1")).await;
    for version in [0, 1, 3, u64::MAX >> 1] {
        let target = Target { last_activity: Some(at(0)), ..at_version(version) };
        assert_eq!(store.delete(&[target]).await.unwrap(), [], "{version}");
    }
    assert_eq!(store.delete(&[at_version(2)]).await.unwrap(), [handle(1)]);
}

pub(crate) async fn many_are_deleted_at_once(store: Arc<dyn Store>) {
    assert_eq!(store.delete(&[]).await.unwrap(), []);
    for n in 0..600 {
        create(&*store, &Record { user_id: Some("ada".into()), ..record(n) }).await;
    }
    // Every third is another incarnation by now, and some are not there at all.
    let target =
        |n: u32| Target::incarnation(handle(n), if n.is_multiple_of(3) { mark(n + 1) } else { mark(n) });
    let targets: Vec<Target> = (0..620).map(target).collect();
    let mut deleted = store.delete(&targets).await.unwrap();
    deleted.sort_unstable();
    let mut expected: Vec<Handle> = (0..600).filter(|n| n % 3 != 0).map(handle).collect();
    expected.sort_unstable();
    assert_eq!(deleted, expected);
    assert_eq!(list_all(&*store, Some("ada"), 100, 0).await.len(), 200);
    assert_eq!(counted(&*store, 0).await, (200, 0));
}
