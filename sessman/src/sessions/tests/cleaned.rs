//! What clean-up leaves to the clocks of others, and whom it tells.

use super::unsure::Unsure;
use super::*;
use crate::events::{Event, Kind};

/// What has been told so far.
async fn told(watch: &mut crate::events::Watch) -> Vec<(Kind, Handle)> {
    let mut told = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout(Duration::ZERO, watch.next()).await {
        let Event { kind, handle, .. } = *event;
        told.extend(handle.map(|handle| (kind, handle)));
    }
    told
}

#[tokio::test]
async fn a_session_whose_place_is_taken_away_after_its_time_is_told_of_once() {
    let clock = Arc::new(ManualClock::new(START));
    let rules = Rules { session_ttl: secs(100), max_sessions_per_user: Some(1), ..Rules::default() };
    let sessions = Arc::new(Sessions::new(Arc::new(Unsure::default()), clock.clone(), rules));
    let mut watch = sessions.events().watch();
    let (first, _) = sessions.create(new(Some("ada"))).await.unwrap();
    clock.advance(secs(100));
    let (second, _) = sessions.create(new(Some("ada"))).await.unwrap();
    clock.advance(secs(100));
    for _ in 0..2 {
        sessions.clean_up().await.unwrap();
    }
    let [first, second] = [first.handle(), second.handle()];
    let mut told = told(&mut watch).await;
    told.sort_by_key(|(kind, handle)| (*kind != Kind::Created, *handle != first));
    let expected = [Kind::Created, Kind::Created, Kind::Expired, Kind::Expired].into_iter();
    assert_eq!(told, expected.zip([first, second, first, second]).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_may_live_by_the_clock_of_another_node_is_left_to_it() {
    let clock = Arc::new(ManualClock::new(START));
    let rules = Rules { session_ttl: secs(100), max_sessions_per_user: Some(1), ..Rules::default() };
    let store = Arc::new(Unsure { is_shared: true, ..Unsure::default() });
    let ahead = Arc::new(Sessions::new(store.clone(), clock.clone(), rules.clone()));
    let right = Arc::new(Sessions::new(store, Arc::new(ManualClock::new(START)), rules));
    let (id, _) = right.create(new(Some("ada"))).await.unwrap();
    clock.advance(secs(219));
    ahead.clean_up().await.unwrap();
    assert!(right.find(holder(&id)).await.is_ok());
    clock.advance(secs(1));
    ahead.clean_up().await.unwrap();
    assert!(matches!(right.find(holder(&id)).await, Err(Error::NotFound)));
}
