//! Somebody writes to the database who has no key.

use super::*;
use crate::record::Mac;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn touch() -> Change {
    Change::touch(at(2_000), Times { reset_at: at(2_000), last_activity: at(2_000), expires_at: at(62_000) })
}

fn login(user: &str) -> Change {
    Change { user_id: Some(user.into()), ..touch() }
}

fn rotation(n: u8) -> Change {
    Change { secret_hash: Some(SecretHash::from([n; 32])), ..touch() }
}

/// What is stored of record 1 is what `forge` makes of it.
async fn forge(inner: &dyn Store, forge: impl FnOnce(Record) -> Record) {
    let stored = get(inner, 1).await.unwrap();
    inner.delete(&[Target::whatever(stored.handle)]).await.unwrap();
    put(inner, &forge(stored)).await;
}

/// Why record 1 is refused, which is the same in each way of reading it.
async fn refused(store: &dyn Store) -> String {
    let handle = record(1).handle;
    let page = store.records(None, 10, NOW).await.unwrap();
    assert!(page.unread.contains(&handle) && page.items.iter().all(|record| record.handle != handle));
    let said = reason(get(store, 1).await);
    let at_hand = store.load_now(handle, NOW).expect("memory has it at hand");
    assert!(matches!(at_hand, Err(StoreError::Unusable(reason)) if reason == said));
    assert!(!said.contains("mallory") && !said.contains("4711"), "{said}");
    said
}

async fn done(store: &dyn Store, read: &Record, unless: Unless, change: &Change) -> Record {
    match store.update(read, unless, change).await.unwrap() {
        Updated::Done { record, .. } => (*record).clone(),
        other => panic!("the update was not made: {other:?}"),
    }
}

type Forgery = fn(Record) -> Record;

/// Each thing that a forger might give a session.
const FORGERIES: [(&str, Forgery); 9] = [
    ("the secret", |stored| Record { secret_hash: SecretHash::from([9; 32]), ..stored }),
    ("the user", |stored| Record { user_id: Some("mallory".into()), ..stored }),
    ("no user", |stored| Record { user_id: None, ..stored }),
    ("the login", |stored| Record { auth_time: Some(at(999)), ..stored }),
    ("the beginning", |stored| Record { created_at: at(999_999), ..stored }),
    ("the time to live", |stored| Record { ttl: Duration::from_secs(999_999), ..stored }),
    ("whose time to live", |stored| Record { ttl_source: TtlSource::Caller, ..stored }),
    ("the mark", |stored| Record { mark: Mark::from([9; 8]), ..stored }),
    ("the code", |stored| Record { mac: stored.mac.map(|Mac(mac)| Mac(mac.map(|byte| byte ^ 1))), ..stored }),
];

#[tokio::test]
async fn whoever_has_no_key_changes_nothing_that_protects_a_session() {
    for (what, forgery) in FORGERIES {
        let inner = memory();
        let store = sealed(&inner, keys(&[ONE]));
        put(&store, &record(1)).await;
        forge(&*inner, forgery).await;
        let said = refused(&store).await;
        assert!(said.contains("was changed by somebody without the key"), "{what}: {said}");
    }
}

#[tokio::test]
async fn a_code_is_of_its_own_record_alone() {
    let inner = memory();
    let store = sealed(&inner, keys(&[ONE]));
    put(&store, &record(1)).await;
    put(&store, &Record { handle: Handle::from([2; 12]), ..record(1) }).await;
    let of_another = get(&*inner, 2).await.unwrap().mac;
    forge(&*inner, |stored| Record { mac: of_another, ..stored }).await;
    assert!(refused(&store).await.contains("was changed"));
    // Nor is a record under another handle, texts and all.
    let stolen = get(&*inner, 2).await.unwrap();
    forge(&*inner, |stored| Record { handle: stored.handle, ..stolen }).await;
    assert!(refused(&store).await.contains("somebody without the key"));
}

#[tokio::test]
async fn a_record_without_its_code_is_refused() {
    let inner = memory();
    let store = sealed(&inner, keys(&[ONE]));
    put(&store, &record(1)).await;
    forge(&*inner, |stored| Record { mac: None, ..stored }).await;
    assert!(refused(&store).await.contains("`record_macs` optional"));
    // Records from before there were keys are no way around it: this one is encrypted, in part if need be.
    let accepting = sealed(&inner, Keys::new(&[ONE], true).unwrap());
    assert!(refused(&accepting).await.contains("has no MAC"));
    forge(&*inner, |stored| Record { metadata: Data::empty(), ..stored }).await;
    assert!(refused(&accepting).await.contains("has no MAC"));
}

#[tokio::test]
async fn what_was_forged_is_not_written_to_either() {
    for (what, forgery) in FORGERIES {
        for change in [touch(), login("bob"), rotation(7)] {
            let inner = memory();
            let store = sealed(&inner, keys(&[ONE]));
            put(&store, &record(1)).await;
            let read = get(&store, 1).await.unwrap();
            forge(&*inner, forgery).await;
            let updated = store.update(&read, Unless::Gone, &change).await;
            let is_harmless = match &updated {
                Ok(Updated::Missing) => true,
                // Here a login gives the session to its user, and a code that is right, before anybody read what was forged.
                Ok(Updated::Done { record, .. }) => {
                    change.applied_to(&read) == Record { mac: read.mac, ..(**record).clone() }
                }
                Ok(Updated::Conflict(_)) => false,
                Err(StoreError::Unusable(_)) => true,
                Err(_) => false,
            };
            assert!(is_harmless, "{what}: {updated:?}");
        }
    }
}

#[tokio::test]
async fn logins_and_new_ids_keep_the_code_right() {
    for unless in [Unless::Gone, Unless::Changed, Unless::Written] {
        let inner = memory();
        let store = sealed(&inner, keys(&[ONE]));
        put(&store, &record(1)).await;
        let mut read = get(&store, 1).await.unwrap();
        for change in [
            login("bob"),
            rotation(7),
            touch(),
            Change { secret_hash: Some(SecretHash::from([8; 32])), ..login("eve") },
        ] {
            let before = get(&*inner, 1).await.unwrap().mac;
            let is_over_it = change.secret_hash.is_some() || change.user_id.is_some();
            read = done(&store, &read, unless, &change).await;
            assert_eq!(get(&store, 1).await.unwrap(), read);
            assert_eq!(get(&*inner, 1).await.unwrap().mac != before, is_over_it);
        }
    }
}

#[tokio::test]
async fn a_new_id_and_a_login_at_once_leave_a_session_that_can_be_read() {
    let inner = memory();
    let store = sealed(&inner, keys(&[ONE]));
    put(&store, &Record { user_id: None, ..record(1) }).await;
    let read = get(&store, 1).await.unwrap();
    // Both read the session as it was, and neither asks for its version.
    done(&store, &read, Unless::Gone, &login("bob")).await;
    let rotated = done(&store, &read, Unless::Gone, &rotation(7)).await;
    assert_eq!((rotated.user_id.as_deref(), rotated.secret_hash), (Some("bob"), SecretHash::from([7; 32])));
    assert_eq!(get(&store, 1).await.unwrap(), rotated);
    // The other way around the login's id is dead.
    assert_eq!(store.update(&read, Unless::Gone, &login("eve")).await.unwrap(), Updated::Missing);
    assert_eq!(get(&store, 1).await.unwrap(), rotated);
}

#[tokio::test]
async fn a_change_by_a_version_without_codes_is_seen() {
    for change in [login("bob"), rotation(7)] {
        let inner = memory();
        let store = sealed(&inner, keys(&[ONE]));
        put(&store, &record(1)).await;
        // A touch by it does no harm.
        done(&*inner, &record(1), Unless::Gone, &touch()).await;
        get(&store, 1).await.unwrap();
        done(&*inner, &record(1), Unless::Gone, &change).await;
        assert!(refused(&store).await.contains("a version that knows no MACs"));
        // While both are at work it is taken, and mended by the next write.
        let lenient = sealed(&inner, keys(&[ONE]).with_record_macs(RecordMacs::Optional));
        let read = get(&lenient, 1).await.unwrap();
        done(&lenient, &read, Unless::Gone, &touch()).await;
        get(&store, 1).await.unwrap();
    }
}

#[tokio::test]
async fn records_of_a_version_without_codes_get_theirs_at_their_next_write() {
    for unless in [Unless::Gone, Unless::Changed, Unless::Written] {
        let inner = memory();
        let strict = sealed(&inner, keys(&[ONE]));
        let off = sealed(&inner, keys(&[ONE]).with_record_macs(RecordMacs::Off));
        let optional = sealed(&inner, keys(&[ONE]).with_record_macs(RecordMacs::Optional));
        put(&off, &record(1)).await;
        assert_eq!(get(&*inner, 1).await.unwrap().mac, None, "so that a version without codes reads it");
        let mut read = get(&off, 1).await.unwrap();
        for change in [login("bob"), rotation(7), touch()] {
            read = done(&off, &read, unless, &change).await;
            assert_eq!(read.mac, None);
        }
        assert!(refused(&strict).await.contains("has no MAC"));
        let read = get(&optional, 1).await.unwrap();
        done(&optional, &read, unless, &Change { data: Some(Data::empty()), ..touch() }).await;
        let read = get(&strict, 1).await.unwrap();
        // Whoever says off again leaves those right that have one.
        done(&off, &read, unless, &rotation(8)).await;
        get(&strict, 1).await.unwrap();
    }
}

#[tokio::test]
async fn two_writes_to_a_record_without_a_code_leave_one_that_is_right() {
    let inner = memory();
    put(&sealed(&inner, keys(&[ONE]).with_record_macs(RecordMacs::Off)), &record(1)).await;
    let optional = sealed(&inner, keys(&[ONE]).with_record_macs(RecordMacs::Optional));
    let read = get(&optional, 1).await.unwrap();
    done(&optional, &read, Unless::Gone, &login("bob")).await;
    let touched = done(&optional, &read, Unless::Gone, &touch()).await;
    assert_eq!(touched.user_id.as_deref(), Some("bob"));
    get(&sealed(&inner, keys(&[ONE])), 1).await.unwrap();
}

#[tokio::test]
async fn a_record_from_before_there_were_keys_gets_a_code_with_its_first_write() {
    let inner = memory();
    put(&*inner, &record(1)).await;
    let accepting = sealed(&inner, Keys::new(&[ONE], true).unwrap());
    let read = get(&accepting, 1).await.unwrap();
    done(&accepting, &read, Unless::Gone, &touch()).await;
    get(&accepting, 1).await.unwrap();
    forge(&*inner, FORGERIES[1].1).await;
    assert!(refused(&accepting).await.contains("was changed"));
}

#[tokio::test]
async fn any_of_several_keys_checks_and_the_first_one_makes() {
    let inner = memory();
    put(&sealed(&inner, keys(&[ONE])), &record(1)).await;
    let both = sealed(&inner, keys(&[TWO, ONE]));
    let read = get(&both, 1).await.unwrap();
    let all = Change { data: Some(Data::empty()), metadata: Some(Data::empty()), ..rotation(7) };
    done(&both, &read, Unless::Gone, &all).await;
    get(&sealed(&inner, keys(&[TWO])), 1).await.unwrap();
    assert!(reason(get(&sealed(&inner, keys(&[ONE])), 1).await).contains("does not have"));
}

#[tokio::test]
async fn whoever_vouches_for_a_record_gives_it_its_code() {
    let inner = memory();
    let (keys, off) = (keys(&[ONE]), keys(&[ONE]).with_record_macs(RecordMacs::Off));
    put(&sealed(&inner, off.clone()), &record(1)).await;
    let stored = get(&*inner, 1).await.unwrap();
    assert!(keys.open_record(&stored).is_err());
    keys.open_record(&keys.vouch_for(&stored)).unwrap();
    assert_eq!(off.vouch_for(&stored), stored);
    // It is for those that have none: a wrong one stays wrong.
    let forged = Record { mac: Some(Mac([0; 32])), ..stored };
    assert!(keys.open_record(&keys.vouch_for(&forged)).is_err());
}
