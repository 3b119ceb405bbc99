//! The names of all sessions, which pages and counts are read from.

use super::super::keys::{Keys, Name};
use super::super::tidying::PARTS;
use super::server::{create, text};
use super::*;
use crate::id::Handle;
use crate::store::{Counts, Listing, Store as _};
use crate::time::Timestamp;

fn later(at: Timestamp, seconds: u64) -> Timestamp {
    at.after(Duration::from_secs(seconds))
}

/// As often as it takes to go over every part.
async fn tidy_all(store: &RedisStore, now: Timestamp) {
    for _ in 0..256_usize.div_ceil(PARTS) {
        store.tidy(now).await.unwrap();
    }
}

/// Writes names of sessions that are not there.
fn add_names(server: &Server, keys: &Keys, names: impl Iterator<Item = Name>) {
    let mut connection = redis::Client::open(format!("redis://{}", server.address())).unwrap();
    let mut pipeline = redis::pipe();
    for name in names {
        let key = keys.index(name.handle.as_bytes()[0]);
        pipeline.cmd("ZADD").arg(key).arg(0).arg(name.to_bytes()).ignore();
    }
    pipeline.exec(&mut connection).unwrap();
}

/// All pages: how many there were, and what was on them.
async fn pages(store: &RedisStore, limit: usize, now: Timestamp) -> (usize, Vec<Handle>) {
    let (mut count, mut handles, mut after) = (0, Vec::new(), None);
    loop {
        let page = store.list(Listing { user_id: None, after, limit, label: None }, now).await.unwrap();
        assert!(page.next.is_none_or(|next| Some(next) > after), "it goes on");
        count += 1;
        handles.extend(page.items.iter().map(|record| record.handle));
        match page.next {
            Some(next) => after = Some(next),
            None => return (count, handles),
        }
    }
}

#[tokio::test]
async fn a_name_without_a_session_is_passed_over_and_goes_when_it_is_old() {
    let Some(server) = Server::start(&[]) else { return };
    let config = server.config();
    let store = RedisStore::open(&config).unwrap();
    let keys = Keys::new(&config.prefix);
    let (removed, kept, ended) = (record(1), record(2), record(3));
    let now = removed.created_at;
    for record in [&removed, &kept, &ended] {
        create(&store, record).await;
    }
    let is_named =
        |record: &Record| server.cli(&["EXISTS", &text(keys.index(record.handle.as_bytes()[0]))]) == "1";
    assert!(delete(&store, Target::whatever(ended.handle)).await);
    // What is ended takes its name with it, behind the answer.
    eventually(|| !is_named(&ended)).await;
    server.cli(&["DEL", &text(keys.session(removed.handle))]);
    assert_eq!(pages(&store, 9, now).await, (1, vec![kept.handle]));
    assert_eq!(store.counts(now, &[]).await.unwrap(), Counts { active: 1, ..Counts::default() });
    tidy_all(&store, later(now, 599)).await;
    assert!(is_named(&removed), "its session may be about to be written");
    tidy_all(&store, later(now, 600)).await;
    assert!(!is_named(&removed) && is_named(&kept));

    // What a purge removes takes its name with it, too.
    assert_eq!(store.purge_expired(kept.expires_at, 9).await.unwrap().len(), 1);
    assert!(!is_named(&kept));
    store.close().await;
}

#[tokio::test]
async fn a_session_whose_handle_others_had_before_is_listed_and_counted_once() {
    let Some(server) = Server::start(&[]) else { return };
    let config = server.config();
    let store = RedisStore::open(&config).unwrap();
    let keys = Keys::new(&config.prefix);
    let one = record(1);
    create(&store, &one).await;
    let marks = (0..700).map(|n| Mark::new(one.created_at.before(Duration::from_secs(600 + n))));
    add_names(&server, &keys, marks.map(|mark| Name { handle: one.handle, mark }));
    assert_eq!(pages(&store, 1, one.created_at).await, (1, vec![one.handle]));
    assert_eq!(store.counts(one.created_at, &[]).await.unwrap().active, 1);
    tidy_all(&store, one.created_at).await;
    assert_eq!(server.cli(&["ZCARD", &text(keys.index(one.handle.as_bytes()[0]))]), "1");
    assert_eq!(pages(&store, 1, one.created_at).await.1, [one.handle]);
    store.close().await;
}

#[tokio::test]
async fn pages_are_cut_short_where_most_sessions_have_ended_and_none_is_missed() {
    let Some(server) = Server::start(&[]) else { return };
    let config = server.config();
    let store = RedisStore::open(&config).unwrap();
    let keys = Keys::new(&config.prefix);
    let now = record(0).created_at;
    // Names of sessions that the server removed, all of them before those that live.
    let gone = (0..20_000_u32).map(|n| {
        let mut handle = [0; 12];
        handle[1..5].copy_from_slice(&n.to_be_bytes());
        Name { handle: Handle::from(handle), mark: Mark::new(now) }
    });
    add_names(&server, &keys, gone);
    let mut live: Vec<Handle> = (1..40).map(|n| record(n).handle).collect();
    for n in 1..40 {
        create(&store, &record(n)).await;
    }
    live.sort_unstable();
    for limit in [1, 10, 1_000] {
        let (count, handles) = pages(&store, limit, now).await;
        assert_eq!(handles, live, "pages of {limit}");
        assert!(count > 1, "no page looks at all of them");
    }
    store.close().await;
}

#[tokio::test]
async fn names_that_a_server_lost_are_written_again() {
    let Some(server) = Server::start(&[]) else { return };
    let config = server.config();
    let store = RedisStore::open(&config).unwrap();
    let keys = Keys::new(&config.prefix);
    let (one, now) = (record(1), record(1).created_at);
    let user_id = Some("\u{fc}".repeat(256));
    let long = Arc::new(Record { user_id: user_id.clone(), ..(*record(2)).clone() });
    let nobody = Arc::new(Record { user_id: None, ..(*record(3)).clone() });
    for record in [&one, &long, &nobody] {
        create(&store, record).await;
        server.cli(&["DEL", &text(keys.index(record.handle.as_bytes()[0]))]);
    }
    server.cli(&["DEL", &text(keys.names("ada"))]);
    server.cli(&["DEL", &text(keys.names(user_id.as_deref().unwrap()))]);
    assert_eq!(pages(&store, 9, now).await.1, []);
    store.tidy(now).await.unwrap();
    assert_eq!(pages(&store, 9, now).await.1, [one.handle, long.handle, nobody.handle]);
    for (user_id, expected) in [(Some("ada"), &one), (user_id.as_deref(), &long)] {
        let page = store.list(Listing { user_id, after: None, limit: 9, label: None }, now).await.unwrap();
        assert_eq!(page.items, [expected.summary()]);
    }
    store.close().await;
}

#[tokio::test]
async fn a_page_looks_at_no_keys_of_others() {
    let Some(server) = Server::start(&[]) else { return };
    let store = RedisStore::open(&server.config()).unwrap();
    create(&store, &record(1)).await;
    assert_eq!(pages(&store, 9, record(1).created_at).await.1, [record(1).handle]);
    store.counts(record(1).created_at, &[]).await.unwrap();
    let commands = server.cli(&["INFO", "commandstats"]);
    assert!(commands.contains("cmdstat_zrangebylex") && !commands.contains("cmdstat_scan"), "{commands}");
    store.close().await;
}
