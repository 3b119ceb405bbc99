//! A login whose eviction of the oldest session fails, or may have been made.

use std::sync::atomic::Ordering;

use super::unsure::Unsure;
use super::*;

/// A user who may have one session and has it, in a store that can fail.
struct Stand {
    store: Arc<Unsure>,
    engine: Engine,
    first: SessionId,
}

impl Stand {
    async fn new() -> Self {
        let store = Arc::new(Unsure::default());
        let clock = Arc::new(ManualClock::new(START));
        let rules = Rules { max_sessions_per_user: Some(1), ..Rules::default() };
        let engine = Engine { sessions: Arc::new(Sessions::new(store.clone(), clock.clone(), rules)), clock };
        let first = engine.begin(Some("ada")).await;
        Self { store, engine, first }
    }

    /// Answers of so many deletions are lost, or so many are not made.
    fn fail(&self, silent: u32, failing: u32) {
        self.store.silent_deletes.store(silent, Ordering::SeqCst);
        self.store.failing_deletes.store(failing, Ordering::SeqCst);
    }

    /// After all that goes on behind an answer.
    async fn lives_alone(&self) -> Handle {
        tokio::time::sleep(secs(20)).await;
        let live = self.engine.live_of("ada").await;
        assert_eq!(live.len(), 1);
        *live.first().unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_that_made_the_oldest_end_stands_although_no_answer_came() {
    let stand = Stand::new().await;
    stand.fail(1, 0);
    let (id, _) = stand.engine.sessions.create(new(Some("ada"))).await.unwrap();
    assert_eq!(stand.lives_alone().await, id.handle());
    assert_eq!(stand.engine.sessions.metrics().evicted.get(), 1);
    stand.fail(0, 1);
    let (id, _) = stand.engine.sessions.create(new(Some("ada"))).await.unwrap();
    assert_eq!(stand.lives_alone().await, id.handle());
}

#[tokio::test(start_paused = true)]
async fn nobody_is_evicted_for_a_login_that_is_taken_back() {
    let stand = Stand::new().await;
    // One of both deletions was made, and then the store is away for a while.
    for silent in [2, 4] {
        stand.fail(silent, 0);
        let failed = stand.engine.sessions.create(new(Some("ada"))).await;
        assert!(matches!(failed, Err(Error::Store(StoreError::Unavailable(_)))), "{failed:?}");
        assert_ne!(stand.lives_alone().await, stand.first.handle(), "whom it ended made room for it");
        assert!(!stand.engine.lives(&stand.first).await);
    }
    let stand = Stand::new().await;
    for failing in [2, 4] {
        stand.fail(0, failing);
        let failed = stand.engine.sessions.create(new(Some("ada"))).await;
        assert!(matches!(failed, Err(Error::Store(StoreError::Unavailable(_)))), "{failed:?}");
        assert_eq!(stand.lives_alone().await, stand.first.handle(), "it was not ended");
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_by_rotate_whose_eviction_fails_has_its_new_id() {
    for (silent, failing) in [(0, 2), (2, 0), (0, 5)] {
        let stand = Stand::new().await;
        let visitor = stand.engine.begin(None).await;
        stand.fail(silent, failing);
        let login = stand.engine.sessions.rotate(holder(&visitor), Rotation::login("ada".into())).await;
        let (id, _) = login.expect("the old id is dead");
        assert!(stand.engine.lives(&id).await && !stand.engine.lives(&visitor).await);
        assert_eq!(stand.lives_alone().await, id.handle());
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_by_rotate_that_is_too_late_leaves_the_old_id_alive() {
    let stand = Stand::new().await;
    let visitor = stand.engine.begin(None).await;
    stand.store.delay.store(1_100, Ordering::SeqCst);
    let failed = stand.engine.sessions.rotate(holder(&visitor), Rotation::login("ada".into())).await;
    assert!(matches!(failed, Err(Error::Store(StoreError::Unavailable(_)))), "{failed:?}");
    stand.store.delay.store(0, Ordering::SeqCst);
    assert_eq!(stand.lives_alone().await, stand.first.handle());
    let (id, _) =
        stand.engine.sessions.rotate(holder(&visitor), Rotation::login("ada".into())).await.unwrap();
    assert_eq!(stand.lives_alone().await, id.handle());
}

#[tokio::test(start_paused = true)]
async fn a_login_by_rotate_that_has_its_new_id_is_answered_in_time() {
    let stand = Stand::new().await;
    let visitor = stand.engine.begin(None).await;
    // Finding it, a place, the new id; and then the last place.
    stand.store.delay.store(600, Ordering::SeqCst);
    let begun = Instant::now();
    let (id, _) =
        stand.engine.sessions.rotate(holder(&visitor), Rotation::login("ada".into())).await.unwrap();
    assert!(begun.elapsed() < STORE_DEADLINE, "{:?}", begun.elapsed());
    stand.store.delay.store(0, Ordering::SeqCst);
    assert_eq!(stand.lives_alone().await, id.handle());
}
