//! How many sessions a user may have.

use std::sync::atomic::Ordering;

use super::unsure::Unsure;
use super::*;
use crate::record::TtlSource;

#[tokio::test]
async fn the_oldest_session_of_a_user_gives_way() {
    let engine = engine(Rules { max_sessions_per_user: Some(2), ..Rules::default() });
    let ids = [engine.begin(Some("ada")).await, engine.begin(Some("ada")).await];
    let other = engine.begin(Some("eve")).await;
    let anonymous = engine.begin(None).await;
    // It began first; that it was used last does not matter.
    engine.sessions.touch(holder(&ids[0])).await.unwrap();
    let third = engine.begin(Some("ada")).await;
    assert!(!engine.lives(&ids[0]).await);
    assert!(engine.lives(&ids[1]).await && engine.lives(&third).await);
    assert!(engine.lives(&other).await && engine.lives(&anonymous).await);
    assert_eq!(engine.sessions.metrics().evicted.get(), 1);
    // What was ended, or ended by itself, is not counted.
    engine.sessions.end(holder(&third)).await.unwrap();
    engine.begin(Some("ada")).await;
    assert!(engine.lives(&ids[1]).await);
    engine.clock.advance(secs(86_400));
    let next = engine.begin(Some("ada")).await;
    assert_eq!(engine.live_of("ada").await, BTreeSet::from([next.handle()]));
}

#[tokio::test]
async fn a_session_beyond_the_limit_is_refused_until_another_ends() {
    let rules = Rules { max_sessions_per_user: Some(2), on_limit: OnLimit::Reject, ..Rules::default() };
    let engine = engine(rules);
    let ids = [engine.begin(Some("ada")).await, engine.begin(Some("ada")).await];
    let refused = engine.sessions.create(new(Some("ada"))).await;
    assert!(matches!(refused, Err(Error::LimitReached { limit: 2 })), "{refused:?}");
    assert_eq!(engine.live_of("ada").await.len(), 2);
    engine.sessions.end(holder(&ids[0])).await.unwrap();
    engine.begin(Some("ada")).await;
    engine.sessions.create(new(Some("ada"))).await.unwrap_err();
    engine.clock.advance(secs(86_400));
    for _ in 0..2 {
        engine.begin(Some("ada")).await;
    }
    engine.sessions.create(new(Some("ada"))).await.unwrap_err();
    assert_eq!(engine.sessions.metrics().created.get(), 5);
}

#[tokio::test]
async fn a_limit_counts_sessions_that_began_without_it() {
    let store = memory();
    let limited = || on(store.clone(), Rules { max_sessions_per_user: Some(2), ..Rules::default() });
    let unlimited = on(store.clone(), Rules::default());
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(unlimited.begin(Some("ada")).await);
        unlimited.clock.advance(secs(1));
    }
    ids.push(limited().begin(Some("ada")).await);
    let newest = |ids: &[SessionId]| ids[ids.len() - 2..].iter().map(SessionId::handle).collect();
    assert_eq!(unlimited.live_of("ada").await, newest(&ids));
    // Without a limit again: what was written down is forgotten, and counted anew when there is one.
    unlimited.sessions.clean_up().await.unwrap();
    for _ in 0..2 {
        unlimited.clock.advance(secs(1));
        ids.push(unlimited.begin(Some("ada")).await);
    }
    ids.push(limited().begin(Some("ada")).await);
    assert_eq!(unlimited.live_of("ada").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_logins_at_once_exactly_so_many_live() {
    for (limit, on_limit) in
        [(1, OnLimit::EvictOldest), (3, OnLimit::EvictOldest), (1, OnLimit::Reject), (3, OnLimit::Reject)]
    {
        let engine = engine(Rules { max_sessions_per_user: Some(limit), on_limit, ..Rules::default() });
        for round in 0..20 {
            let user_id = format!("user-{round}");
            let logins: Vec<_> = (0..32)
                .map(|_| {
                    let (sessions, user_id) = (engine.sessions.clone(), user_id.clone());
                    tokio::spawn(async move { sessions.create(new(Some(&user_id))).await })
                })
                .collect();
            let mut began = BTreeSet::new();
            for login in logins {
                match login.await.unwrap() {
                    Ok((id, _)) => drop(began.insert(id.handle())),
                    Err(Error::LimitReached { .. }) if on_limit == OnLimit::Reject => {}
                    Err(error) => panic!("{error}"),
                }
            }
            let live = engine.live_of(&user_id).await;
            assert_eq!(live.len(), limit, "{on_limit:?}");
            assert!(live.is_subset(&began), "who lives was told so");
            if on_limit == OnLimit::Reject {
                assert_eq!(live, began, "who was let in stays");
            }
        }
    }
}

#[tokio::test]
async fn a_place_whose_process_ended_is_free_again_after_ten_seconds() {
    let store = memory();
    let rules = Rules { max_sessions_per_user: Some(1), on_limit: OnLimit::Reject, ..Rules::default() };
    let ended = on(store.clone(), rules.clone());
    // As far as the other process came: it wrote the session and took its place.
    let ttl = (secs(3_600), TtlSource::Configured);
    let (id, _) = ended.sessions.insert(&new(Some("ada")), ttl, true).await.unwrap();
    ended.sessions.reserve("ada", id.handle(), false).await.unwrap();
    let engine = on(store, rules);
    engine.clock.advance(secs(10) - Duration::from_millis(1));
    assert!(matches!(engine.sessions.create(new(Some("ada"))).await, Err(Error::LimitReached { .. })));
    engine.clock.advance(Duration::from_millis(1));
    engine.begin(Some("ada")).await;
}

#[tokio::test]
async fn a_login_goes_on_although_its_client_has_gone() {
    let engine = engine(Rules { max_sessions_per_user: Some(1), ..Rules::default() });
    let first = engine.begin(Some("ada")).await;
    let mut login = Box::pin(engine.sessions.create(new(Some("ada"))));
    let polled = Future::poll(login.as_mut(), &mut std::task::Context::from_waker(std::task::Waker::noop()));
    assert!(polled.is_pending());
    drop(login);
    while engine.lives(&first).await {
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    // With its whole time to live, not that of a session without a place.
    engine.clock.advance(secs(60));
    assert_eq!(engine.live_of("ada").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_may_have_begun_does_not_keep_its_place() {
    let store = Arc::new(Unsure::default());
    let clock = Arc::new(ManualClock::new(START));
    let rules = Rules { max_sessions_per_user: Some(1), on_limit: OnLimit::Reject, ..Rules::default() };
    let sessions = Arc::new(Sessions::new(store.clone(), clock.clone(), rules));
    // Its update is made, but no answer comes; and then the store is away for some time.
    store.silent_updates.store(1, Ordering::SeqCst);
    store.failing_deletes.store(3, Ordering::SeqCst);
    let failed = sessions.create(new(Some("ada"))).await;
    assert!(matches!(failed, Err(Error::Store(StoreError::Unavailable(_)))), "{failed:?}");
    clock.advance(secs(60));
    assert!(matches!(sessions.create(new(Some("ada"))).await, Err(Error::LimitReached { .. })));
    tokio::time::sleep(secs(8)).await;
    // The one that was refused could not be deleted, either: it had ten seconds, and no place.
    clock.advance(secs(10));
    sessions.create(new(Some("ada"))).await.unwrap();
    assert_eq!(store.failing_deletes.load(Ordering::SeqCst), 0);
}

/// Sessions on a store in which taking a place takes 16 s, so many times; one that has no place yet lives 10 s.
fn slow(times: u32, rules: Rules) -> Arc<Sessions> {
    let clock = Arc::new(ManualClock::new(START));
    let slow_claims = Some((clock.clone(), secs(16), times.into()));
    Arc::new(Sessions::new(Arc::new(Unsure { slow_claims, ..Unsure::default() }), clock, rules))
}

#[tokio::test]
async fn a_login_that_is_lost_on_its_way_is_begun_again() {
    for on_limit in [OnLimit::EvictOldest, OnLimit::Reject] {
        let rules = Rules { max_sessions_per_user: Some(2), on_limit, ..Rules::default() };
        let sessions = slow(2, rules);
        let (id, _) = sessions.create(new(Some("ada"))).await.unwrap();
        sessions.find(holder(&id)).await.unwrap();
    }
}

#[tokio::test]
async fn a_login_that_is_not_there_is_not_answered_as_begun() {
    for on_limit in [OnLimit::EvictOldest, OnLimit::Reject] {
        let rules = Rules { max_sessions_per_user: Some(1), on_limit, ..Rules::default() };
        let sessions = slow(6, rules);
        let lost = sessions.create(new(Some("ada"))).await;
        assert!(matches!(lost, Err(Error::Store(StoreError::Unavailable(_)))), "{lost:?}");
        let (id, _) = sessions.create(new(Some("ada"))).await.unwrap();
        sessions.find(holder(&id)).await.unwrap();
    }
}

/// Two engines at one store, of which the second's clock is ahead by so much.
fn apart(ahead: Duration, rules: Rules) -> [Engine; 2] {
    let store = memory();
    let engines = [on(store.clone(), rules.clone()), on(store, rules)];
    engines[1].clock.advance(ahead);
    engines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_limit_holds_between_nodes_whose_clocks_differ() {
    for (ahead, limit) in [(15, 1), (30, 2), (71, 3)] {
        for on_limit in [OnLimit::EvictOldest, OnLimit::Reject] {
            let rules = Rules { max_sessions_per_user: Some(limit), on_limit, ..Rules::default() };
            let engines = apart(secs(ahead), rules);
            for round in 0..20 {
                let user_id = format!("user-{round}");
                let logins: Vec<_> = (0..12)
                    .map(|n| {
                        let (sessions, user_id) = (engines[n % 2].sessions.clone(), user_id.clone());
                        tokio::spawn(async move { sessions.create(new(Some(&user_id))).await })
                    })
                    .collect();
                let mut began = BTreeSet::new();
                for login in logins {
                    if let Ok((id, _)) = login.await.unwrap() {
                        began.insert(id.handle());
                    }
                }
                let live = engines[0].live_of(&user_id).await;
                assert_eq!(live.len(), limit, "{ahead} s, {on_limit:?}");
                assert!(live.is_subset(&began), "who lives was told so");
                if on_limit == OnLimit::Reject {
                    assert_eq!(live, began, "who was let in stays");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_place_of_somebody_elses_session_keeps_nobody_out_and_ends_nobodys() {
    for on_limit in [OnLimit::EvictOldest, OnLimit::Reject] {
        let engine = engine(Rules { max_sessions_per_user: Some(1), on_limit, ..Rules::default() });
        // As far as the process came: a visitor's session has a place of ada's, and is not hers yet.
        let visitor = engine.begin(None).await;
        engine.sessions.reserve("ada", visitor.handle(), false).await.unwrap();
        let first = engine.begin(Some("ada")).await;
        assert!(engine.lives(&visitor).await && engine.lives(&first).await, "{on_limit:?}");

        // And the visitor became mallory since.
        let visitor = engine.begin(None).await;
        engine.sessions.end(holder(&first)).await.unwrap();
        engine.sessions.reserve("ada", visitor.handle(), false).await.unwrap();
        let (mallory, _) =
            engine.sessions.rotate(holder(&visitor), Rotation::login("mallory".into())).await.unwrap();
        let next = engine.begin(Some("ada")).await;
        assert!(engine.lives(&mallory).await && engine.lives(&next).await, "{on_limit:?}");
    }
}

#[tokio::test]
async fn a_login_that_ended_after_it_became_the_users_counts_at_the_next_one() {
    let engine = engine(Rules { max_sessions_per_user: Some(1), ..Rules::default() });
    let visitor = engine.begin(None).await;
    let record = engine.sessions.find(holder(&visitor)).await.unwrap();
    // As far as the process came: the place, and the record.
    engine.sessions.reserve("ada", visitor.handle(), false).await.unwrap();
    let change = Change { user_id: Some("ada".into()), ..engine.sessions.reset(&record) };
    engine.sessions.change(&record, &change).await.unwrap();
    let next = engine.begin(Some("ada")).await;
    assert_eq!(engine.live_of("ada").await, BTreeSet::from([next.handle()]));
}

#[tokio::test]
async fn nobody_is_evicted_for_a_login_that_never_came() {
    let engine = engine(Rules { max_sessions_per_user: Some(1), ..Rules::default() });
    let first = engine.begin(Some("ada")).await;
    // As far as the process came: it wrote the session and took its place.
    let ttl = (secs(3_600), TtlSource::Configured);
    let (id, _) = engine.sessions.insert(&new(Some("ada")), ttl, true).await.unwrap();
    engine.sessions.reserve("ada", id.handle(), false).await.unwrap();
    assert!(engine.lives(&first).await);
    engine.clock.advance(secs(10));
    assert_eq!(engine.live_of("ada").await, BTreeSet::from([first.handle()]));
    engine.sessions.clean_up().await.unwrap();
    let next = engine.begin(Some("ada")).await;
    assert_eq!(engine.live_of("ada").await, BTreeSet::from([next.handle()]));
}

#[tokio::test]
async fn a_login_whose_answer_never_arrived_keeps_its_user_out_for_two_minutes() {
    let rules = Rules { max_sessions_per_user: Some(2), on_limit: OnLimit::Reject, ..Rules::default() };
    let engine = engine(rules);
    let [unused, used] = [engine.begin(Some("ada")).await, engine.begin(Some("ada")).await];
    engine.clock.advance(secs(1));
    let before = engine.sessions.find(holder(&used)).await.unwrap();
    let read = engine.sessions.get(holder(&used)).await.unwrap();
    assert_eq!(
        (read.expires_at, read.reset_at),
        (before.expires_at, before.reset_at),
        "reading puts nothing off"
    );
    engine.clock.advance(secs(118));
    assert!(matches!(engine.sessions.create(new(Some("ada"))).await, Err(Error::LimitReached { .. })));
    engine.clock.advance(secs(1));
    let next = engine.begin(Some("ada")).await;
    assert!(!engine.lives(&unused).await && engine.lives(&used).await && engine.lives(&next).await);
    engine.clock.advance(secs(1));
    engine.sessions.get(holder(&next)).await.unwrap();
    engine.clock.advance(secs(3_600));
    assert!(matches!(engine.sessions.create(new(Some("ada"))).await, Err(Error::LimitReached { .. })));
}

#[tokio::test]
async fn a_place_is_not_lost_when_an_id_is_used_again() {
    let engine = engine(Rules { max_sessions_per_user: Some(1), ..Rules::default() });
    let external = SessionId::external(&"a".repeat(22)).unwrap();
    for _ in 0..20 {
        let again = NewSession { id: Some(external.clone()), ..new(Some("ada")) };
        engine.sessions.create(again).await.unwrap();
        let next = engine.begin(Some("ada")).await;
        assert_eq!(engine.live_of("ada").await, BTreeSet::from([next.handle()]));
        let again = NewSession { id: Some(external.clone()), ..new(Some("ada")) };
        engine.sessions.create(again).await.unwrap();
        assert_eq!(engine.live_of("ada").await, BTreeSet::from([external.handle()]));
        engine.sessions.end(holder(&external)).await.unwrap();
    }
}

#[tokio::test]
async fn a_login_that_another_one_wrote_down_is_as_old_as_its_place_says() {
    let engine = engine(Rules { max_sessions_per_user: Some(3), ..Rules::default() });
    let sessions = &engine.sessions;
    let ttl = (secs(3_600), TtlSource::Configured);
    let mut ids = Vec::new();
    // Of the user nothing is written down: the first to claim a place writes down who is there already.
    for _ in 0..2 {
        ids.push(sessions.insert(&new(Some("ada")), ttl, false).await.unwrap().0.handle());
    }
    sessions.reserve("ada", ids[1], false).await.unwrap();
    for _ in 0..2 {
        let handle = sessions.insert(&new(Some("ada")), ttl, false).await.unwrap().0.handle();
        sessions.reserve("ada", handle, false).await.unwrap();
        ids.push(handle);
    }
    let places = sessions.reserve("ada", ids[0], false).await.unwrap();
    assert_eq!(places, ids, "it has the first place, though it claims one last");
    sessions.evict("ada", &places, ids[0]).await.unwrap();
    sessions.evict("ada", &places, ids[3]).await.unwrap();
    assert_eq!(engine.live_of("ada").await, ids[1..].iter().copied().collect());
}
