//! `claim`, `release` and what keeps their lists short: which sessions a user has, in the order of arrival.

use super::races::{count, together};
use super::*;

/// Claims a place for session `n` of `user_id`, of whom something is known.
async fn claim(store: &dyn Store, user_id: &str, n: u32, room: Option<usize>) -> Claimed {
    store.claim(Claim { user_id, handle: handle(n), room, moves_last: false, earlier: None }).await.unwrap()
}

/// Claims a place for session `n`, after those of `earlier` if nothing is known.
async fn begin(store: &dyn Store, user_id: &str, n: u32, room: Option<usize>, earlier: &[u32]) -> Claimed {
    let earlier = handles(earlier);
    store
        .claim(Claim { user_id, handle: handle(n), room, moves_last: false, earlier: Some(&earlier) })
        .await
        .unwrap()
}

fn handles(numbers: &[u32]) -> Vec<Handle> {
    numbers.iter().map(|n| handle(*n)).collect()
}

fn done(numbers: &[u32]) -> Claimed {
    Claimed::Done(handles(numbers))
}

fn full(numbers: &[u32]) -> Claimed {
    Claimed::Full(handles(numbers))
}

pub(crate) async fn a_user_is_unknown_until_told(store: Arc<dyn Store>) {
    assert_eq!(claim(&*store, "ada", 1, None).await, Claimed::Unknown);
    assert_eq!(claim(&*store, "ada", 1, Some(5)).await, Claimed::Unknown);
    assert_eq!(begin(&*store, "ada", 1, None, &[]).await, done(&[1]));
    assert_eq!(claim(&*store, "Ada", 2, None).await, Claimed::Unknown);
    assert_eq!(begin(&*store, "a\u{308}/\u{1F600}$.x", 2, None, &[9, 8]).await, done(&[9, 8, 2]));
}

pub(crate) async fn places_are_in_the_order_of_arrival(store: Arc<dyn Store>) {
    // The numbers' order is not that of the handles.
    let order = [5, 3, 9, 1, 7];
    begin(&*store, "ada", order[0], None, &[]).await;
    begin(&*store, "eve", 100, None, &[]).await;
    for (index, n) in order.iter().enumerate().skip(1) {
        assert_eq!(claim(&*store, "ada", *n, None).await, done(&order[..=index]));
    }
}

pub(crate) async fn a_second_claim_keeps_its_place(store: Arc<dyn Store>) {
    begin(&*store, "ada", 1, None, &[]).await;
    claim(&*store, "ada", 2, None).await;
    assert_eq!(claim(&*store, "ada", 1, None).await, done(&[1, 2]));
    assert_eq!(claim(&*store, "ada", 2, Some(2)).await, done(&[1, 2]));
    assert_eq!(claim(&*store, "ada", 2, Some(1)).await, full(&[1, 2]), "it is not among the first one");
    assert_eq!(claim(&*store, "ada", 1, Some(1)).await, done(&[1, 2]));
}

pub(crate) async fn there_is_no_place_beyond_the_room(store: Arc<dyn Store>) {
    assert_eq!(begin(&*store, "ada", 1, Some(2), &[]).await, done(&[1]));
    assert_eq!(claim(&*store, "ada", 2, Some(2)).await, done(&[1, 2]));
    assert_eq!(claim(&*store, "ada", 3, Some(2)).await, full(&[1, 2]));
    assert_eq!(claim(&*store, "ada", 3, Some(1)).await, full(&[1, 2]));
    assert_eq!(claim(&*store, "ada", 3, Some(3)).await, done(&[1, 2, 3]));
    assert_eq!(begin(&*store, "eve", 9, Some(1), &[4, 5]).await, full(&[4, 5]));
    assert_eq!(claim(&*store, "eve", 4, Some(1)).await, done(&[4, 5]), "what was said of earlier ones stays");
}

pub(crate) async fn a_released_place_is_free(store: Arc<dyn Store>) {
    begin(&*store, "ada", 1, None, &[]).await;
    claim(&*store, "ada", 2, None).await;
    store.release("ada", &handles(&[1, 77])).await.unwrap();
    store.release("nobody", &handles(&[2])).await.unwrap();
    assert_eq!(claim(&*store, "ada", 3, Some(2)).await, done(&[2, 3]));
    assert_eq!(claim(&*store, "ada", 1, None).await, done(&[2, 3, 1]), "whoever comes back comes last");
    store.release("ada", &handles(&[1, 2, 3])).await.unwrap();
    assert_eq!(claim(&*store, "ada", 4, None).await, Claimed::Unknown, "a user without places is forgotten");
}

pub(crate) async fn what_is_known_already_stays(store: Arc<dyn Store>) {
    begin(&*store, "ada", 3, None, &[2, 1]).await;
    assert_eq!(begin(&*store, "ada", 4, None, &[7, 8]).await, done(&[2, 1, 3, 4]));
}

/// Claims the last place for session `n` of `user_id`, of whom something is known.
async fn move_last(store: &dyn Store, user_id: &str, n: u32, room: Option<usize>) -> Claimed {
    store.claim(Claim { user_id, handle: handle(n), room, moves_last: true, earlier: None }).await.unwrap()
}

pub(crate) async fn a_claim_that_moves_last_is_the_last(store: Arc<dyn Store>) {
    assert_eq!(move_last(&*store, "ada", 1, None).await, Claimed::Unknown);
    begin(&*store, "ada", 1, None, &[]).await;
    for n in [2, 3] {
        claim(&*store, "ada", n, None).await;
    }
    assert_eq!(move_last(&*store, "ada", 1, None).await, done(&[2, 3, 1]));
    assert_eq!(move_last(&*store, "ada", 1, Some(3)).await, done(&[2, 3, 1]));
    assert_eq!(move_last(&*store, "ada", 4, None).await, done(&[2, 3, 1, 4]), "it had no place yet");
    assert_eq!(claim(&*store, "ada", 3, None).await, done(&[2, 3, 1, 4]));
}

pub(crate) async fn a_claim_that_does_not_fit_moves_nothing(store: Arc<dyn Store>) {
    begin(&*store, "ada", 1, None, &[]).await;
    for n in [2, 3] {
        claim(&*store, "ada", n, None).await;
    }
    assert_eq!(move_last(&*store, "ada", 1, Some(2)).await, full(&[1, 2, 3]));
    assert_eq!(move_last(&*store, "ada", 4, Some(3)).await, full(&[1, 2, 3]));
    assert_eq!(store.places("ada").await.unwrap(), handles(&[1, 2, 3]));
}

pub(crate) async fn the_places_of_a_user_are_read(store: Arc<dyn Store>) {
    assert_eq!(store.places("ada").await.unwrap(), []);
    begin(&*store, "ada", 3, None, &[5, 4]).await;
    begin(&*store, "eve", 9, None, &[]).await;
    assert_eq!(store.places("ada").await.unwrap(), handles(&[5, 4, 3]));
    assert_eq!(store.places("Ada").await.unwrap(), []);
    store.release("ada", &handles(&[5, 4, 3])).await.unwrap();
    assert_eq!(store.places("ada").await.unwrap(), []);
}

pub(crate) async fn the_places_of_all_users_come_page_by_page(store: Arc<dyn Store>) {
    let users: Vec<String> = (0..7).map(|n| format!("user-{n}")).collect();
    for (n, user_id) in (0..).zip(&users) {
        begin(&*store, user_id, 100 + n, None, &[n]).await;
    }
    for limit in [1, 2, 3, 7, 8] {
        let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let PlacesPage { users, next } = store.all_places(after.as_deref(), limit).await.unwrap();
            found.extend(users);
            after = next;
            pages += 1;
            if after.is_none() {
                break;
            }
            assert!(pages <= users_and_steps(&found), "{pages} pages of {limit}");
        }
        found.sort_unstable_by(|one, other| one.user_id.cmp(&other.user_id));
        // A walk over all keys of a server may come upon one twice.
        found.dedup();
        assert!(found.iter().map(|places| &places.user_id).eq(&users), "{found:?}");
        for (n, places) in (0..).zip(&found) {
            assert_eq!(places.handles, handles(&[n, 100 + n]));
        }
    }
    store.forget_places().await.unwrap();
    let PlacesPage { users, .. } = store.all_places(None, 10).await.unwrap();
    assert_eq!(users, []);
}

/// More pages than any walk has that comes to its end.
fn users_and_steps(found: &[super::super::Places]) -> usize {
    found.len() + 10_000
}

pub(crate) async fn forgetting_and_clearing_forget_everybody(store: Arc<dyn Store>) {
    for by_clearing in [false, true] {
        for user_id in ["ada", "eve"] {
            begin(&*store, user_id, 1, None, &[]).await;
        }
        match by_clearing {
            true => assert_eq!(store.clear().await.unwrap(), 0, "places are no records"),
            false => store.forget_places().await.unwrap(),
        }
        for user_id in ["ada", "eve"] {
            assert_eq!(claim(&*store, user_id, 1, None).await, Claimed::Unknown);
        }
    }
}

pub(crate) async fn one_claim_gets_the_last_place(store: Arc<dyn Store>) {
    begin(&*store, "ada", 1_000, None, &[1_001]).await;
    let results = together(|caller| {
        let store = store.clone();
        async move { claim(&*store, "ada", caller, Some(3)).await }
    })
    .await;
    assert_eq!(count(&results, |claimed| matches!(claimed, Claimed::Done(_))), 1);
}

pub(crate) async fn no_claim_is_lost(store: Arc<dyn Store>) {
    begin(&*store, "ada", 1_000, None, &[]).await;
    let results = together(|caller| {
        let store = store.clone();
        async move {
            match claim(&*store, "ada", caller, None).await {
                Claimed::Done(handles) => handles,
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
    let Claimed::Done(all) = claim(&*store, "ada", 1_000, None).await else { panic!("no place") };
    assert_eq!(all.len(), results.len() + 1);
    // Each saw those before it, itself last: one order for all.
    for seen in &results {
        assert_eq!(*seen, all[..seen.len()]);
    }
    let mut lengths: Vec<usize> = results.iter().map(Vec::len).collect();
    lengths.sort_unstable();
    assert!(lengths.iter().copied().eq(2..=all.len()));
}

pub(crate) async fn one_beginning_of_an_entry_counts(store: Arc<dyn Store>) {
    let results = together(|caller| {
        let store = store.clone();
        async move { begin(&*store, "ada", caller, Some(2), &[1_000 + caller]).await }
    })
    .await;
    assert_eq!(count(&results, |claimed| matches!(claimed, Claimed::Done(_))), 1);
    let firsts: Vec<Handle> = results
        .iter()
        .map(|claimed| match claimed {
            Claimed::Done(handles) | Claimed::Full(handles) => handles[0],
            Claimed::Unknown => panic!("nothing is known"),
        })
        .collect();
    assert!(firsts.iter().all(|first| *first == firsts[0]));
}

pub(crate) async fn whoever_has_room_is_never_refused(store: Arc<dyn Store>) {
    for round in 0..20 {
        let user_id = format!("user-{round}");
        let room = (round % 2 == 0).then_some(16);
        let results = together(|caller| {
            let (store, user_id) = (store.clone(), user_id.clone());
            async move {
                // As the engine does: what came before is looked for only if nothing is known.
                loop {
                    match claim(&*store, &user_id, caller, room).await {
                        Claimed::Unknown => {}
                        claimed => return claimed,
                    }
                    match begin(&*store, &user_id, caller, room, &[]).await {
                        Claimed::Unknown => {}
                        claimed => return claimed,
                    }
                }
            }
        })
        .await;
        assert_eq!(count(&results, |claimed| matches!(claimed, Claimed::Done(_))), results.len());
    }
}
