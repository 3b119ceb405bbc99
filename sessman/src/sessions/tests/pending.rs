//! A session that is about to begin is there for nobody, and somebody else may want its id.

use std::sync::atomic::Ordering;

use super::unsure::Unsure;
use super::*;
use crate::record::TtlSource;

const TTL: (Duration, TtlSource) = (secs(3_600), TtlSource::Configured);

fn external() -> SessionId {
    SessionId::external("an-id-that-is-used-again").unwrap()
}

fn of(user_id: &str) -> NewSession {
    NewSession { id: Some(external()), ..new(Some(user_id)) }
}

fn rules() -> Rules {
    Rules { max_sessions_per_user: Some(2), ..Rules::default() }
}

#[tokio::test]
async fn a_session_that_is_about_to_begin_is_there_for_nobody_whatever_their_clock_says() {
    let store = memory();
    let engines = [on(store.clone(), rules()), on(store, rules())];
    engines[1].clock.advance(secs(15));
    engines[0].sessions.insert(&of("ada"), TTL, true).await.unwrap();
    let update = Update::Merge(Data::parse(r#"{"a":1}"#).unwrap());
    for Engine { sessions, .. } in &engines {
        let id = external();
        assert!(sessions.get_now(holder(&id)).is_none_or(|found| matches!(found, Err(Error::NotFound))));
        for answer in [
            sessions.get(holder(&id)).await.map(drop),
            sessions.update(holder(&id), &update, &Precondition::None).await.map(drop),
            sessions.touch(holder(&id)).await.map(drop),
            sessions.end(holder(&id)).await,
        ] {
            assert!(matches!(answer, Err(Error::NotFound)), "{answer:?}");
        }
        let listing = Listing { user_id: Some("ada"), after: None, limit: 9, label: None };
        assert!(sessions.list(listing).await.unwrap().items.is_empty());
    }
}

/// Whatever becomes of a session: that it has begun shows.
#[tokio::test]
async fn a_session_that_has_begun_is_told_from_one_that_is_about_to() {
    for on_limit in [OnLimit::EvictOldest, OnLimit::Reject] {
        for behind in [0, 1, 15_000] {
            let store = memory();
            let rules =
                Rules { on_limit, sliding: Some(Sliding::Access), touch_interval: Some(secs(0)), ..rules() };
            let engines = [on(store.clone(), rules.clone()), on(store, rules)];
            engines[0].clock.advance(Duration::from_millis(behind));
            let id = engines[0].begin(Some("ada")).await;
            for engine in [1, 0, 1] {
                let sessions = &engines[engine].sessions;
                sessions.get(holder(&id)).await.unwrap();
                sessions.touch(holder(&id)).await.unwrap();
                engines[engine].clock.advance(Duration::from_millis(1));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_that_somebody_else_is_about_to_use_is_waited_for() {
    let store = Arc::new(Unsure::default());
    let sessions = Arc::new(Sessions::new(store.clone(), Arc::new(ManualClock::new(START)), rules()));
    sessions.create(new(Some("ada"))).await.unwrap();
    store.delay.store(100, Ordering::SeqCst);
    let first = tokio::spawn({
        let sessions = sessions.clone();
        async move { sessions.create(of("ada")).await.map(drop) }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let second = sessions.create(of("bob")).await;
    assert!(matches!(second, Err(Error::Exists)), "{second:?}");
    // It was not told so before it is true.
    assert_eq!(sessions.find(holder(&external())).await.unwrap().user_id.as_deref(), Some("ada"));
    first.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_id_whose_use_never_came_about_is_free() {
    let engine = engine(rules());
    let (_, pending) = engine.sessions.insert(&of("ada"), TTL, true).await.unwrap();
    engine.sessions.reserve("ada", pending.handle, true).await.unwrap();
    for limit in [Some(2), None] {
        let sessions = Arc::new(Sessions::new(
            engine.sessions.store.clone(),
            engine.clock.clone(),
            Rules { max_sessions_per_user: limit, ..Rules::default() },
        ));
        sessions.create(of("bob")).await.unwrap();
        assert!(matches!(sessions.create(of("ada")).await, Err(Error::Exists)));
        sessions.end(holder(&external())).await.unwrap();
        engine.sessions.insert(&of("ada"), TTL, true).await.unwrap();
    }
    // Whoever was about to use it finds nothing.
    let begin = engine.sessions.reset(&pending);
    assert_eq!(engine.sessions.write(&pending, Unless::Gone, &begin).await.unwrap(), Updated::Missing);
}
