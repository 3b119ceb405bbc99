//! `update`: what a change sets, what it leaves, and when it is not made.

use super::*;

pub(crate) async fn a_touch_moves_the_times_alone(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    let touched = update(&*store, 1, holder(1), &touch(1_000)).await;
    let expected =
        Record { reset_at: at(1_000), last_activity: at(1_000), expires_at: at(1_000 + TTL), ..record(1) };
    assert_eq!(touched, expected);
    assert_eq!((touched.version, touched.updated_at), (1, at(0)));
    assert_eq!(load(&*store, 1, 1_000).await, Some(expected));
}

pub(crate) async fn each_kind_of_change_counts_once(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    let changes = [
        write(1_000, "[1]"),
        // The same content again is a change all the same.
        write(2_000, "[1]"),
        Change { metadata: Some(data(r#"{"a":1}"#)), ..touch(3_000) },
        Change { user_id: Some("ada".into()), ..touch(4_000) },
        Change {
            user_id: Some("ada".into()),
            metadata: Some(data("{}")),
            secret_hash: Some(secret(1)),
            ..write(5_000, "2")
        },
    ];
    let mut expected = record(1);
    for (index, change) in changes.iter().enumerate() {
        expected = change.applied_to(&expected);
        assert_eq!((expected.version, expected.updated_at), (index as u64 + 2, change.now));
        assert_eq!(update(&*store, 1, holder(1), change).await, expected);
        assert_eq!(load(&*store, 1, 5_000).await, Some(expected.clone()));
    }
}

pub(crate) async fn what_is_not_named_stays(store: Arc<dyn Store>) {
    let stored = Record {
        user_id: Some("ada".into()),
        data: data(r#"{"z":1,"a":1.0}"#),
        metadata: data(r#"{"client_ip":"::1"}"#),
        ..record(1)
    };
    create(&*store, &stored).await;
    let read = (stored.clone(), Unless::Gone);
    let rotated = update(&*store, 1, read, &Change { secret_hash: Some(secret(2)), ..touch(0) }).await;
    assert_eq!(rotated, Record { secret_hash: secret(2), ..stored });
    let written = update(&*store, 1, holder(2), &write(0, "null")).await;
    let expected = Record { data: data("null"), version: 2, ..rotated };
    assert_eq!(written, expected);
    let described = update(&*store, 1, holder(2), &Change { metadata: Some(data("{}")), ..touch(0) }).await;
    assert_eq!(described, Record { metadata: data("{}"), version: 3, ..expected });
}

pub(crate) async fn a_wrong_secret_finds_nothing(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    for version in [None, Some(1), Some(9)] {
        let stranger = version.map_or_else(|| holder(99), |version| at_version(99, version));
        let missing = attempt(&*store, 1, stranger, &write(10, "1")).await;
        assert_eq!(missing, Updated::Missing, "{version:?}");
    }
    assert_eq!(load(&*store, 1, 10).await, Some(record(1)));
}

pub(crate) async fn a_wrong_version_is_a_conflict(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    update(&*store, 1, holder(1), &write(1, "1")).await;
    let current = update(&*store, 1, holder(1), &write(2, "2")).await;
    for version in [0, 1, 2, 4, u64::from(u32::MAX)] {
        let late = at_version(1, version);
        for change in [write(3, "3"), touch(3)] {
            let conflict = attempt(&*store, 1, late.clone(), &change).await;
            assert_eq!(conflict, Updated::Conflict(3), "{version}");
        }
    }
    assert_eq!(load(&*store, 1, 3).await, Some(current));
    let in_time = at_version(1, 3);
    assert_eq!(update(&*store, 1, in_time, &write(4, "4")).await.version, 4);
}

pub(crate) async fn an_update_creates_nothing(store: Arc<dyn Store>) {
    for version in [None, Some(0), Some(1)] {
        let expected = version.map_or_else(|| holder(1), |version| at_version(1, version));
        let missing = attempt(&*store, 1, expected, &write(0, "1")).await;
        assert_eq!(missing, Updated::Missing);
    }
    assert_eq!(load(&*store, 1, 0).await, None);
    assert_eq!(counted(&*store, 0).await, (0, 0));
}

pub(crate) async fn an_update_after_delete_resurrects_nothing(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    assert!(delete(&*store, 1, Some(secret(1))).await);
    for change in [write(0, "1"), touch(0), Change { secret_hash: Some(secret(2)), ..touch(0) }] {
        assert_eq!(attempt(&*store, 1, holder(1), &change).await, Updated::Missing);
    }
    assert_eq!(load(&*store, 1, 0).await, None);
    assert_eq!(counted(&*store, 0).await, (0, 0));
}

pub(crate) async fn rotation_kills_the_old_secret(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    let rotated = update(&*store, 1, holder(1), &Change { secret_hash: Some(secret(2)), ..touch(10) }).await;
    assert_eq!((rotated.secret_hash, rotated.version, rotated.updated_at), (secret(2), 1, at(0)));
    for change in [touch(11), write(11, "1"), Change { secret_hash: Some(secret(3)), ..touch(11) }] {
        assert_eq!(attempt(&*store, 1, holder(1), &change).await, Updated::Missing);
    }
    assert!(!delete(&*store, 1, Some(secret(1))).await);
    assert_eq!(load(&*store, 1, 11).await, Some(rotated));
    assert_eq!(update(&*store, 1, holder(2), &write(12, "1")).await.version, 2);
}

pub(crate) async fn other_handles_stay_untouched(store: Arc<dyn Store>) {
    // One secret opens all three: the handle alone tells them apart.
    let of_ada = |n| Record { secret_hash: secret(7), user_id: Some("ada".into()), ..record(n) };
    for n in 1..=3 {
        create(&*store, &of_ada(n)).await;
    }
    let others = [load(&*store, 1, 0).await, load(&*store, 3, 0).await];
    update(&*store, 2, (of_ada(2), Unless::Gone), &Change { secret_hash: Some(secret(8)), ..write(5, "2") })
        .await;
    assert!(delete(&*store, 2, Some(secret(8))).await);
    assert_eq!([load(&*store, 1, 0).await, load(&*store, 3, 0).await], others);
}

pub(crate) async fn a_login_sets_its_time(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    for millis in [1_000, 2_000] {
        let login = Change { user_id: Some("ada".into()), ..touch(millis) };
        let known = update(&*store, 1, holder(1), &login).await;
        assert_eq!((known.user_id.as_deref(), known.auth_time), (Some("ada"), Some(at(millis))));
        assert_eq!(load(&*store, 1, millis).await, Some(known));
    }
    let written = update(&*store, 1, holder(1), &write(3_000, "1")).await;
    assert_eq!(written.auth_time, Some(at(2_000)));
}

pub(crate) async fn what_was_written_to_meanwhile_is_a_conflict(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    let read = (record(1), Unless::Written);
    let touched = update(&*store, 1, read.clone(), &touch(1_000)).await;
    assert_eq!(touched.last_activity, at(1_000));
    // The version is as it was; somebody wrote all the same.
    for change in [touch(2_000), write(2_000, "1")] {
        assert_eq!(attempt(&*store, 1, read.clone(), &change).await, Updated::Conflict(1));
    }
    let stranger = (Record { secret_hash: secret(9), ..touched.clone() }, Unless::Written);
    assert_eq!(attempt(&*store, 1, stranger, &touch(2_000)).await, Updated::Missing);
    assert_eq!(load(&*store, 1, 0).await, Some(touched.clone()));
    update(&*store, 1, (touched, Unless::Written), &touch(2_000)).await;
}

pub(crate) async fn another_incarnation_is_not_changed(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    assert!(delete(&*store, 1, None).await);
    // The same handle, secret, moment and version: only the mark tells them apart.
    let next = Record { mark: mark(2), user_id: Some("bob".into()), ..record(1) };
    create(&*store, &next).await;
    for unless in [Unless::Gone, Unless::Changed, Unless::Written] {
        for change in [touch(1), write(1, "1"), Change { secret_hash: Some(secret(3)), ..touch(1) }] {
            assert_eq!(store.update(&record(1), unless, &change).await.unwrap(), Updated::Missing);
        }
    }
    assert_eq!(load(&*store, 1, 1).await, Some(next.clone()));
    assert!(matches!(store.update(&next, Unless::Changed, &touch(1)).await.unwrap(), Updated::Done { .. }));
}

pub(crate) async fn an_update_says_how_long_it_would_have_lived(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    for (millis, before) in [(1_000, TTL), (2_000, 1_000 + TTL)] {
        let Updated::Done { record, lived_until } = attempt(&*store, 1, holder(1), &touch(millis)).await
        else {
            panic!("it was not made")
        };
        assert_eq!((record.expires_at, lived_until), (at(millis + TTL), at(before)));
    }
}

/// Terms of its own.
fn own(ttl: u64, idle: Option<u64>, persistent: bool) -> Terms {
    let idle = idle.map(Duration::from_millis);
    Terms { ttl: Duration::from_millis(ttl), ttl_source: TtlSource::Caller, idle, persistent }
}

pub(crate) async fn terms_change_and_count_not(store: Arc<dyn Store>) {
    let stored = Record { mac: Some(Mac([1; 32])), labels: labels(&["tenant"], "acme"), ..record(1) };
    create(&*store, &stored).await;
    let configured = Terms { ttl_source: TtlSource::Configured, ..own(TTL as u64, None, false) };
    let mut expected = stored;
    for (millis, terms) in
        [own(5, Some(7), true), own(u32::MAX.into(), Some(0), false), own(1, None, true), configured]
            .into_iter()
            .enumerate()
    {
        let millis = millis as i64 + 1;
        let change = Change { terms: Some(terms), ..touch(millis) };
        let read = (expected.clone(), Unless::Changed);
        expected = change.applied_to(&expected);
        assert_eq!(update(&*store, 1, read, &change).await, expected);
        assert_eq!((expected.terms(), expected.version, expected.updated_at), (terms, 1, at(0)));
        assert_eq!(load(&*store, 1, millis).await, Some(expected.clone()));
    }
    // What names no terms leaves them.
    let change = Change { terms: Some(own(5, Some(7), true)), ..touch(10) };
    let changed = update(&*store, 1, (expected, Unless::Changed), &change).await;
    let touched = update(&*store, 1, holder(1), &touch(11)).await;
    assert_eq!(
        (touched.terms(), &touched.labels, touched.mac),
        (changed.terms(), &changed.labels, changed.mac)
    );
    let written = update(&*store, 1, holder(1), &write(12, "[1]")).await;
    assert_eq!(
        (written.terms(), &written.labels, written.mac),
        (changed.terms(), &changed.labels, changed.mac)
    );
}

pub(crate) async fn labels_change_and_count(store: Arc<dyn Store>) {
    let stored = Record { persistent: true, idle: Some(Duration::from_millis(9)), ..record(1) };
    create(&*store, &stored).await;
    let mut expected = stored;
    for (index, labels) in
        [labels(&["a", "b"], "1"), labels(&["b"], "2"), Labels::none()].into_iter().enumerate()
    {
        let change = Change { labels: Some(labels), ..touch(index as i64 + 1) };
        let read = (expected.clone(), Unless::Changed);
        expected = change.applied_to(&expected);
        assert_eq!(update(&*store, 1, read, &change).await, expected);
        assert_eq!((expected.version, expected.updated_at), (index as u64 + 2, change.now));
        assert_eq!(load(&*store, 1, 5).await, Some(expected.clone()));
    }
}

/// Within one millisecond, so that the last activity is the same.
pub(crate) async fn any_write_of_the_same_moment_is_a_conflict(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    let read = update(&*store, 1, (record(1), Unless::Gone), &touch(1)).await;
    let changes = [
        Change { data: Some(data(r#"{"n":1}"#)), ..touch(1) },
        Change { labels: Some(labels(&["a"], "1")), ..touch(1) },
        Change { terms: Some(own(5, None, true)), ..touch(1) },
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let before = load(&*store, 1, 1).await.unwrap();
        let written = update(&*store, 1, (before.clone(), Unless::Written), &change).await;
        assert_eq!(written.last_activity, read.last_activity);
        for late in [&read, &before] {
            let conflict = attempt(&*store, 1, (late.clone(), Unless::Written), &touch(1)).await;
            assert!(matches!(conflict, Updated::Conflict(_)), "{index}: {conflict:?}");
        }
        assert_eq!(load(&*store, 1, 1).await, Some(written));
    }
}

pub(crate) async fn terms_that_changed_meanwhile_are_a_conflict(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    let read = record(1);
    for (index, terms) in [
        own(5, None, false),
        Terms { ttl_source: TtlSource::Unknown, ..own(5, None, false) },
        own(TTL as u64, None, false),
        own(5, Some(0), false),
        own(5, Some(9), false),
        own(5, None, true),
    ]
    .into_iter()
    .enumerate()
    {
        let now = load(&*store, 1, 0).await.unwrap();
        let change = Change { terms: Some(terms), ..touch(1) };
        let changed = update(&*store, 1, (now, Unless::Changed), &change).await;
        // The version is the same, and what was read is not.
        let late = Change { labels: Some(labels(&["a"], "1")), ..touch(2) };
        let conflict = attempt(&*store, 1, (read.clone(), Unless::Changed), &late).await;
        assert_eq!(conflict, Updated::Conflict(1), "{index}");
        assert_eq!(load(&*store, 1, 1).await, Some(changed));
    }
    // Whoever wants any state does not mind.
    update(&*store, 1, (read, Unless::Gone), &touch(3)).await;
}
