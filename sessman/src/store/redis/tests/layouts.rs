//! Records of several layouts beside each other, and what cannot be read.

use super::super::keys::Keys;
use super::server::{create, text};
use super::*;
use crate::data::Data;
use crate::id::{Handle, SecretHash};
use crate::record::{Change, Mac, Times, TtlSource};
use crate::store::{Counts, Listing, Outlined, StoreError, Unless, Updated};
use crate::time::Timestamp;

const ADA: Listing<'_> = Listing { user_id: Some("ada"), after: None, limit: 9, label: None };
const ALL: Listing<'_> = Listing { user_id: None, after: None, limit: 9, label: None };

/// A change at that moment, which a session survives.
fn touch(now: Timestamp) -> Change {
    let times =
        Times { reset_at: now, last_activity: now, expires_at: now.after(Duration::from_secs(3_600)) };
    Change::touch(now, times)
}

async fn update(store: &RedisStore, read: &Record, change: &Change) -> Record {
    match store.update(read, Unless::Changed, change).await.unwrap() {
        Updated::Done { record, .. } => (*record).clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_record_becomes_layout_2_with_its_first_mac_and_each_change_of_it_is_whole() {
    let Some(server) = Server::start(&[]) else { return };
    let config = server.config();
    let store = RedisStore::open(&config).unwrap();
    let key = text(Keys::new(&config.prefix).session(record(1).handle));
    let layout = || server.cli(&["--no-raw", "GETRANGE", &key, "0", "0"]);
    let now = record(1).created_at;
    for ttl_source in [TtlSource::Unknown, TtlSource::Caller, TtlSource::Configured] {
        let mut known = Record { ttl_source, ..(*record(1)).clone() };
        create(&store, &Arc::new(known.clone())).await;
        let data = Some(Data::parse("[1]").unwrap());
        let metadata = Some(Data::parse(r#"{"a":"b"}"#).unwrap());
        let mac = |n| Some(Mac([n; 32]));
        let secret_hash = Some(SecretHash::from([5; 32]));
        for (change, expected) in [
            (touch(now), 1),
            (Change { user_id: Some("eve".into()), ..touch(now) }, 1),
            (Change { secret_hash, mac: mac(1), ..touch(now) }, 2),
            (touch(now), 2),
            (Change { data, ..touch(now) }, 2),
            (Change { metadata, ..touch(now) }, 2),
            (Change { mac: mac(2), user_id: Some("ada".into()), ..touch(now) }, 2),
        ] {
            let updated = update(&store, &known, &change).await;
            known = change.applied_to(&known);
            assert_eq!(updated, known);
            assert_eq!(store.load(known.handle, now).await.unwrap().live().as_deref(), Some(&known));
            assert_eq!(layout(), format!("\"\\x0{expected}\""));
        }
        assert_eq!(store.list(ADA, now).await.unwrap().items, [known.summary()]);
        assert!(delete(&store, Target::incarnation(known.handle, known.mark)).await);
    }
    store.close().await;
}

/// What an update of the version before writes: it knows of no flags but those of the user and of the login.
#[tokio::test]
async fn a_login_at_a_node_of_the_version_before_leaves_a_record_that_is_read() {
    let Some(server) = Server::start(&[]) else { return };
    let config = server.config();
    let store = RedisStore::open(&config).unwrap();
    let one = Arc::new(Record { auth_time: Some(record(1).created_at), ..(*record(1)).clone() });
    create(&store, &one).await;
    let key = text(Keys::new(&config.prefix).session(one.handle));
    server.cli(&["SETRANGE", &key, "1", "\u{3}"]);
    let found = store.load(one.handle, one.created_at).await.unwrap().live().unwrap();
    assert_eq!(*found, Record { ttl_source: TtlSource::Unknown, ..(*one).clone() });
    store.close().await;
}

/// What there is of a session that a newer version wrote, or that is damaged.
enum Unread {
    NewerLayout,
    CutShort,
    /// Its name has something else.
    Damaged,
}

#[tokio::test]
async fn a_session_that_cannot_be_read_is_named_in_lists_and_ended_by_its_handle() {
    let Some(server) = Server::start(&[]) else { return };
    for unread in [Unread::NewerLayout, Unread::CutShort, Unread::Damaged] {
        let config = server.config();
        let store = RedisStore::open(&config).unwrap();
        let keys = Keys::new(&config.prefix);
        let records = [record(1), record(2), record(3)];
        for record in &records {
            create(&store, record).await;
        }
        let [first, second, third] = &records;
        let now = first.created_at;
        let key = text(keys.session(second.handle));
        match unread {
            Unread::NewerLayout => server.cli(&["SETRANGE", &key, "0", "\u{3}"]),
            Unread::CutShort => server.cli(&["SET", &key, "\u{1}\u{1}"]),
            Unread::Damaged => server.cli(&["SET", &key, "something else"]),
        };
        assert!(matches!(store.load(second.handle, now).await, Err(StoreError::Unusable(_))));
        let handles: Vec<Handle> = records.iter().map(|record| record.handle).collect();
        let found = |record: &Record| Outlined::Found(record.outline());
        let expected = [found(first), Outlined::Unreadable, found(third)];
        assert_eq!(store.outlines(&handles).await.unwrap(), expected);
        assert_eq!(store.counts(now, &[]).await.unwrap(), Counts { active: 2, ..Counts::default() });

        // It is so however much the names are tidied: they alone lead to it.
        let later = first.expires_at.after(Duration::from_secs(600));
        for (tidied_at, live) in [(now, 2), (later, 0)] {
            for _ in 0..17 {
                store.tidy(tidied_at).await.unwrap();
            }
            for listing in [ADA, ALL] {
                let page = store.list(listing, tidied_at).await.unwrap();
                assert_eq!((page.items.len(), &page.unread[..]), (live, &[second.handle][..]));
            }
            let page = store.records(None, 9, tidied_at).await.unwrap();
            assert_eq!((page.items.len(), &page.unread[..]), (live, &[second.handle][..]));
        }

        // Whether it is the one that is meant cannot be said, and the others do not suffer from that.
        let targets = [first, second].map(|record| Target::incarnation(record.handle, record.mark));
        assert!(matches!(store.delete(&targets).await, Err(StoreError::Unusable(_))));
        assert!(store.load(first.handle, now).await.unwrap().live().is_none());
        let rest = [second, third].map(|record| Target::whatever(record.handle));
        assert_eq!(store.delete(&rest).await.unwrap(), [second.handle, third.handle]);
        assert_eq!(store.delete(&rest).await.unwrap(), []);
        for listing in [ADA, ALL] {
            let page = store.list(listing, now).await.unwrap();
            assert!(page.items.is_empty() && page.unread.is_empty());
        }
        let index = text(keys.index(second.handle.as_bytes()[0]));
        eventually(|| server.cli(&["EXISTS", &index]) == "0").await;
        store.close().await;
    }
}

#[tokio::test]
async fn each_session_that_cannot_be_read_is_on_one_page() {
    let Some(server) = Server::start(&[]) else { return };
    let config = server.config();
    let store = RedisStore::open(&config).unwrap();
    let now = record(1).created_at;
    let mut expected = Vec::new();
    for n in 1..30 {
        create(&store, &record(n)).await;
        if n % 3 != 0 {
            let key = text(Keys::new(&config.prefix).session(record(n).handle));
            server.cli(&["SETRANGE", &key, "0", "\u{1f}"]);
            expected.push(record(n).handle);
        }
    }
    expected.sort_unstable();
    for (user_id, limit) in [(None, 1), (None, 2), (None, 9), (None, 99), (Some("ada"), 2), (Some("ada"), 99)]
    {
        let (mut unread, mut items, mut after) = (Vec::new(), 0, None);
        loop {
            let page = store.list(Listing { user_id, after, limit, label: None }, now).await.unwrap();
            unread.extend(page.unread);
            items += page.items.len();
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!((unread, items), (expected.clone(), 9), "pages of {limit}");
    }
    store.close().await;
}

#[tokio::test]
async fn clearing_takes_what_cannot_be_read_too() {
    let Some(server) = Server::start(&[]) else { return };
    let config = server.config();
    let store = RedisStore::open(&config).unwrap();
    create(&store, &record(1)).await;
    let key = text(Keys::new(&config.prefix).session(record(1).handle));
    server.cli(&["SETRANGE", &key, "0", "\u{3}"]);
    assert_eq!(store.clear().await.unwrap(), 1);
    assert_eq!(server.cli(&["EXISTS", &key]), "0");
    store.close().await;
}

#[tokio::test]
async fn lists_and_outlines_read_no_data() {
    let Some(server) = Server::start(&[]) else { return };
    let store = RedisStore::open(&server.config()).unwrap();
    const BYTES: usize = 200_000;
    let now = record(1).created_at;
    let handles: Vec<Handle> = (1..21).map(|n| record(n).handle).collect();
    for n in 1..21 {
        let data = Data::parse(&format!("\"{}\"", "x".repeat(BYTES))).unwrap();
        create(&store, &Arc::new(Record { data, ..(*record(n)).clone() })).await;
    }
    let sent = || {
        let stats = server.cli(&["INFO", "stats"]);
        let line = stats.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:"));
        line.unwrap().trim().parse::<usize>().unwrap()
    };
    let before = sent();
    assert_eq!(store.list(Listing { limit: 99, ..ADA }, now).await.unwrap().items.len(), 20);
    assert_eq!(store.list(Listing { limit: 99, ..ALL }, now).await.unwrap().items.len(), 20);
    assert_eq!(store.outlines(&handles).await.unwrap().len(), 20);
    store.counts(now, &[now]).await.unwrap();
    let bytes = sent() - before;
    assert!(bytes < BYTES, "{bytes} bytes for what has no data");
    store.close().await;
}
