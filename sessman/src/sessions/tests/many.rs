//! Many sessions of a user.

use std::time::Instant as Moment;

use super::*;

#[tokio::test]
async fn all_sessions_of_a_user_end_and_nobody_elses() {
    let engine = engine(Rules::default());
    let mut ids = Vec::new();
    for _ in 0..1_234 {
        ids.push(engine.begin(Some("ada")).await);
    }
    let other = engine.begin(Some("eve")).await;
    let others = engine.sessions.end_mine(holder(&ids[7]), Ending::Others).await.unwrap();
    assert_eq!(others.len(), 1_233);
    assert!(engine.lives(&ids[7]).await && !engine.lives(&ids[8]).await);
    assert_eq!(engine.sessions.end_user("ada".into()).await.unwrap(), [ids[7].handle()]);
    assert!(engine.lives(&other).await);
    assert_eq!(engine.sessions.metrics().ended.get(), 1_234);
}

#[tokio::test]
async fn a_handle_that_is_named_twice_ends_once() {
    let engine = engine(Rules::default());
    let id = engine.begin(None).await;
    let handles = vec![id.handle(), id.handle(), Handle::from([9; 12])];
    assert_eq!(engine.sessions.end_handles(handles).await.unwrap(), [id.handle()]);
}

#[tokio::test]
async fn counts_that_took_long_serve_those_who_ask_at_the_same_time() {
    let clock = Arc::new(ManualClock::new(START));
    let store = Arc::new(unsure::Unsure::default());
    let sessions = Arc::new(Sessions::new(store.clone(), clock, Rules::default()));
    sessions.create(new(None)).await.unwrap();
    assert_eq!(sessions.stats().await.unwrap().active, 1);
    sessions.create(new(None)).await.unwrap();
    assert_eq!(sessions.stats().await.unwrap().active, 2, "what is quick is looked at each time");
    store.counts_take.store(150, std::sync::atomic::Ordering::SeqCst);
    let begun = Moment::now();
    let asked: Vec<_> = (0..5)
        .map(|_| {
            let sessions = sessions.clone();
            tokio::spawn(async move { sessions.stats().await.unwrap().active })
        })
        .collect();
    for asked in asked {
        assert_eq!(asked.await.unwrap(), 2);
    }
    assert_eq!(store.counted.load(std::sync::atomic::Ordering::SeqCst), 3, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_was_counted_before_all_were_cleared_is_told_nobody() {
    let store = Arc::new(unsure::Unsure::default());
    let sessions =
        Arc::new(Sessions::new(store.clone(), Arc::new(ManualClock::new(START)), Rules::default()));
    sessions.create(new(None)).await.unwrap();
    store.counts_take.store(1_000, std::sync::atomic::Ordering::SeqCst);
    let counting = tokio::spawn({
        let sessions = sessions.clone();
        async move { sessions.stats().await.unwrap().active }
    });
    tokio::task::yield_now().await;
    assert_eq!(sessions.clear().await.unwrap(), 1);
    assert_eq!(sessions.stats().await.unwrap().active, 0);
    counting.await.unwrap();
}
