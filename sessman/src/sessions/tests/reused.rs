//! An id that the caller chose is used again by its user just while the place of the session before is taken away.

use super::unsure::Unsure;
use super::*;

/// A user who may have two sessions, one of them under an id that was chosen.
struct Stand {
    store: Arc<Unsure>,
    engine: Engine,
    other: SessionId,
}

fn external() -> SessionId {
    SessionId::external("an-id-that-is-used-again").unwrap()
}

fn again() -> NewSession {
    NewSession { id: Some(external()), ..new(Some("ada")) }
}

impl Stand {
    async fn new(on_limit: OnLimit) -> Self {
        let store = Arc::new(Unsure::default());
        let clock = Arc::new(ManualClock::new(START));
        let rules = Rules { max_sessions_per_user: Some(2), on_limit, ..Rules::default() };
        let engine = Engine { sessions: Arc::new(Sessions::new(store.clone(), clock.clone(), rules)), clock };
        let other = engine.begin(Some("ada")).await;
        engine.sessions.create(again()).await.unwrap();
        Self { store, engine, other }
    }

    /// The id is used again before the next places are taken away.
    fn is_used_again(&self) {
        let sessions = self.engine.sessions.clone();
        *self.store.before_release.lock().unwrap() =
            Some(Box::new(|| Box::pin(async move { drop(sessions.create(again()).await.unwrap()) })));
    }

    /// The next session of its user counts the one with that id, which lives.
    async fn counts(&self, on_limit: OnLimit) {
        assert!(self.store.before_release.lock().unwrap().is_none(), "it came to that");
        let engine = &self.engine;
        assert!(engine.lives(&external()).await);
        let next = engine.sessions.create(new(Some("ada"))).await;
        match on_limit {
            OnLimit::EvictOldest => {
                assert!(next.is_ok() && engine.lives(&external()).await && !engine.lives(&self.other).await);
            }
            OnLimit::Reject => assert!(matches!(next, Err(Error::LimitReached { .. })), "{next:?}"),
        }
        assert_eq!(engine.live_of("ada").await.len(), 2);
    }
}

const BOTH: [OnLimit; 2] = [OnLimit::EvictOldest, OnLimit::Reject];

#[tokio::test]
async fn a_session_keeps_its_place_although_clean_up_saw_the_end_of_the_one_before() {
    for on_limit in BOTH {
        let stand = Stand::new(on_limit).await;
        stand.store.inner.delete(&[Target::whatever(external().handle())]).await.unwrap();
        stand.is_used_again();
        stand.engine.sessions.clean_up().await.unwrap();
        stand.counts(on_limit).await;
    }
}

#[tokio::test]
async fn a_session_keeps_its_place_although_the_one_before_was_just_ended() {
    for on_limit in BOTH {
        let stand = Stand::new(on_limit).await;
        stand.is_used_again();
        stand.engine.sessions.end(holder(&external())).await.unwrap();
        stand.counts(on_limit).await;

        let stand = Stand::new(on_limit).await;
        stand.is_used_again();
        stand.engine.sessions.end_handles(vec![external().handle()]).await.unwrap();
        stand.counts(on_limit).await;
    }
}

#[tokio::test]
async fn a_session_keeps_its_place_although_the_one_before_was_just_evicted() {
    let engine = Stand::new(OnLimit::EvictOldest).await;
    engine.engine.sessions.end(holder(&engine.other)).await.unwrap();
    let second = engine.engine.begin(Some("ada")).await;
    // The oldest is the one with the chosen id, which makes room and comes back.
    engine.is_used_again();
    let third = engine.engine.begin(Some("ada")).await;
    let live = BTreeSet::from([third.handle(), external().handle()]);
    assert_eq!(engine.engine.live_of("ada").await, live, "not {:?}", second.handle());
    let next = engine.engine.begin(Some("ada")).await;
    assert_eq!(engine.engine.live_of("ada").await, BTreeSet::from([next.handle(), external().handle()]));
}

/// The place of a session that is about to begin is taken for that of the one before, another session comes before it is given
/// back, and neither has seen the other.
#[tokio::test]
async fn a_session_whose_place_is_given_back_before_it_begins_does_not_exceed_the_limit() {
    for on_limit in BOTH {
        let stand = Stand::new(on_limit).await;
        let handle = external().handle();
        stand.store.inner.delete(&[Target::whatever(handle)]).await.unwrap();
        let [sessions, another] = [stand.engine.sessions.clone(), stand.engine.sessions.clone()];
        *stand.store.after_release.lock().unwrap() =
            Some(Box::new(|| Box::pin(async move { drop(another.create(new(Some("ada"))).await.unwrap()) })));
        *stand.store.before_update.lock().unwrap() =
            Some(Box::new(move || Box::pin(async move { sessions.release("ada", &[handle]).await })));
        let created = stand.engine.sessions.create(again()).await;
        assert!(stand.store.after_release.lock().unwrap().is_none(), "it came to that");
        let is_there = on_limit == OnLimit::EvictOldest;
        assert_eq!(created.is_ok(), is_there, "{created:?}");
        assert_eq!(stand.engine.lives(&external()).await, is_there);
        assert_eq!(stand.engine.lives(&stand.other).await, !is_there);
        assert_eq!(stand.engine.live_of("ada").await.len(), 2);
    }
}
