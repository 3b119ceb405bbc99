//! A store that is slow with writes: what was asked for before a session ended, and made after.

use std::sync::atomic::{AtomicBool, Ordering};

use super::unsure::Unsure;
use super::*;
use crate::store::Listing;

/// Sessions that live 3 s in a store, on a server or in this process, whose next update takes 1 s by this clock, and says
/// that it was made.
fn slow(is_shared: bool) -> (Arc<Unsure>, Arc<ManualClock>, Arc<Sessions>) {
    let clock = Arc::new(ManualClock::new(START));
    let slow_updates = Some((clock.clone(), secs(1), AtomicBool::new(false)));
    let store = Arc::new(Unsure { slow_updates, is_shared, ..Unsure::default() });
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
        let (store, clock, sessions) = slow(true);
        let (id, _) = sessions.create(new(None)).await.unwrap();
        clock.advance(Duration::from_millis(2_900));
        is_slow(&store, true);
        let answer = match operation {
            "update" => sessions.update(holder(&id), &update, &Precondition::None).await.map(drop),
            "touch" => sessions.touch(holder(&id)).await.map(drop),
            _ => sessions.rotate(holder(&id), Rotation::default()).await.map(drop),
        };
        assert!(matches!(answer, Err(Error::NotFound)), "{operation}: {answer:?}");
        let page = sessions.list(Listing { limit: 9, ..Listing::default() }).await.unwrap();
        assert!(page.items.is_empty(), "{operation}");
        assert_eq!(sessions.stats().await.unwrap().active, 0, "{operation}");
    }
}

#[tokio::test]
async fn a_write_that_was_in_time_stays() {
    let (store, clock, sessions) = slow(true);
    let (id, _) = sessions.create(new(None)).await.unwrap();
    clock.advance(Duration::from_millis(1_900));
    is_slow(&store, true);
    sessions.touch(holder(&id)).await.unwrap();
    is_slow(&store, false);
    clock.advance(Duration::from_millis(1_500));
    sessions.touch(holder(&id)).await.unwrap();
}

/// It compares when it writes, and on a slow disk the answer comes long after: whoever read meanwhile saw the change.
#[tokio::test]
async fn what_a_store_of_this_process_wrote_in_time_stays_however_late_the_answer_is() {
    let update = Update::Merge(Data::parse(r#"{"a":1}"#).unwrap());
    for operation in ["update", "touch", "rotate"] {
        let (store, clock, sessions) = slow(false);
        let (mut id, _) = sessions.create(new(None)).await.unwrap();
        clock.advance(Duration::from_millis(2_900));
        is_slow(&store, true);
        match operation {
            "update" => drop(sessions.update(holder(&id), &update, &Precondition::None).await.unwrap()),
            "touch" => drop(sessions.touch(holder(&id)).await.unwrap()),
            _ => id = sessions.rotate(holder(&id), Rotation::default()).await.unwrap().0,
        }
        sessions.find(holder(&id)).await.unwrap();
    }
}
