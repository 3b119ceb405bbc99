//! The places of users: what is damaged, what versions before wrote, many of them.

use super::super::keys::Keys;
use super::log::Log;
use super::server::text;
use super::*;
use crate::id::Handle;
use crate::store::{Claim, Claimed, PlacesPage};

fn handles(numbers: std::ops::Range<u32>) -> Vec<Handle> {
    let handle = |n: u32| {
        let mut bytes = [0; 12];
        bytes[8..].copy_from_slice(&n.to_be_bytes());
        Handle::from(bytes)
    };
    numbers.map(handle).collect()
}

async fn claim(store: &RedisStore, user_id: &str, handle: Handle, room: Option<usize>) -> Claimed {
    let claim = Claim { user_id, handle, room, moves_last: false, earlier: Some(&[]) };
    store.claim(claim).await.unwrap()
}

/// Whose places there are, and which.
async fn all(store: &RedisStore) -> Vec<(String, Vec<Handle>)> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let PlacesPage { users, next } = store.all_places(after.as_deref(), 2).await.unwrap();
        all.extend(users.into_iter().map(|places| (places.user_id, places.handles)));
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    all.sort();
    all.dedup();
    all
}

#[tokio::test]
async fn a_damaged_entry_is_passed_over_and_the_log_says_whose_it_is() {
    let Some(server) = Server::start(&[]) else { return };
    let config = server.config();
    let store = RedisStore::open(&config).unwrap();
    let keys = Keys::new(&config.prefix);
    let one = record(1).handle;
    for user in ["ada", "bob", "eve"] {
        claim(&store, user, one, None).await;
    }
    server.cli(&["LPUSH", &text(keys.places("bob", false)), "not a handle"]);
    server.cli(&["SET", &text(keys.places("carl", false)), "not a list"]);
    let log = Log::begin();
    let expected = ["ada", "bob", "eve"].map(|user| (user.to_owned(), vec![one]));
    assert_eq!(all(&store).await, expected);
    assert_eq!(store.places("bob").await.unwrap(), [one]);
    let said = log.end();
    for user in ["bob", "carl"] {
        assert!(said.iter().any(|line| line.contains(user)), "{said:?}");
    }
    assert!(!said.iter().any(|line| line.contains("ada") || line.contains("eve")), "{said:?}");
    // It takes no place away from the user.
    let two = record(2).handle;
    assert_eq!(claim(&store, "bob", two, Some(2)).await, Claimed::Done(vec![one, two]));
    assert_eq!(server.cli(&["LLEN", &text(keys.places("bob", false))]), "2");
    store.close().await;
}

#[tokio::test]
async fn many_places_are_released_at_once_and_the_others_keep_their_order() {
    let Some(server) = Server::start(&[]) else { return };
    let config = server.config();
    let store = RedisStore::open(&config).unwrap();
    for count in [0, 1, 8, 9, 400, 1_000] {
        let earlier = handles(0..1_000);
        let mut claim =
            Claim { user_id: "ada", handle: record(1).handle, room: None, moves_last: false, earlier: None };
        claim.earlier = Some(&earlier);
        store.claim(claim).await.unwrap();
        store.release("ada", &handles(0..count)).await.unwrap();
        let expected: Vec<Handle> = handles(count..1_000).into_iter().chain([record(1).handle]).collect();
        assert_eq!(store.places("ada").await.unwrap(), expected);
        store.forget_places().await.unwrap();
    }
    store.close().await;
}

#[tokio::test]
async fn a_single_server_has_the_places_where_the_version_before_has_them() {
    let Some(server) = Server::start(&[]) else { return };
    let config = server.config();
    let store = RedisStore::open(&config).unwrap();
    for user in ["ada", "a{b}c", "{sessman:u:ada}", "}"] {
        claim(&store, user, record(1).handle, None).await;
        let key = format!("{}:p:{user}", config.prefix);
        assert_eq!(server.cli(&["LRANGE", &key, "0", "-1"]), record(1).handle.to_string());
    }
    assert_eq!(all(&store).await.len(), 4);
    store.close().await;
}
