//! A store that is slow with writes: what was asked for before a session ended, and made after.

use std::sync::atomic::{AtomicBool, Ordering};

use super::unsure::Unsure;
use super::*;
use crate::store::Listing;

/// Sessions that live 3 s in a store whose next update takes 1 s by this clock, and says that it was made.
fn slow() -> (Arc<Unsure>, Arc<ManualClock>, Arc<Sessions>) {
    let clock = Arc::new(ManualClock::new(START));
    let slow_updates = Some((clock.clone(), secs(1), AtomicBool::new(false)));
    let store = Arc::new(Unsure { slow_updates, ..Unsure::default() });
    let rules = Rules { session_ttl: secs(3), ..Rules::default() };
    (store.clone(), clock.clone(), Arc::new(Sessions::new(store, clock, rules)))
}

fn is_slow(store: &Unsure, slow: bool) {
    store.slow_updates.as_ref().unwrap().2.store(slow, Ordering::SeqCst);
}

#[tokio::test]
async fn a_session_that_ended_is_not_brought_back_by_a_write_that_was_late() {
    let update = Update::Merge(Data::parse(r#"{"a":1}"#).unwrap());
    for operation in ["update", "touch", "rotate"] {
        let (store, clock, sessions) = slow();
        let (id, _) = sessions.create(new(None)).await.unwrap();
        clock.advance(Duration::from_millis(2_900));
        is_slow(&store, true);
        let answer = match operation {
            "update" => sessions.update(holder(&id), &update, &Precondition::None).await.map(drop),
            "touch" => sessions.touch(holder(&id)).await.map(drop),
            _ => sessions.rotate(holder(&id), None).await.map(drop),
        };
        assert!(matches!(answer, Err(Error::NotFound)), "{operation}: {answer:?}");
        let page = sessions.list(Listing { limit: 9, ..Listing::default() }).await.unwrap();
        assert!(page.items.is_empty(), "{operation}");
        assert_eq!(sessions.stats().await.unwrap().active, 0, "{operation}");
    }
}

#[tokio::test]
async fn a_write_that_was_in_time_stays() {
    let (store, clock, sessions) = slow();
    let (id, _) = sessions.create(new(None)).await.unwrap();
    clock.advance(Duration::from_millis(1_900));
    is_slow(&store, true);
    sessions.touch(holder(&id)).await.unwrap();
    is_slow(&store, false);
    clock.advance(Duration::from_millis(1_500));
    sessions.touch(holder(&id)).await.unwrap();
}
