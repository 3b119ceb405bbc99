//! A store that answers each call just in time.

use std::sync::atomic::Ordering;

use tokio::time::Instant as Moment;

use super::unsure::Unsure;
use super::*;

#[tokio::test(start_paused = true)]
async fn a_change_is_answered_in_time_however_many_calls_and_others_it_waits_for() {
    let store = Arc::new(Unsure::default());
    let clock = Arc::new(ManualClock::new(START));
    let sessions = Arc::new(Sessions::new(store.clone(), clock, Rules::default()));
    let (id, _) = sessions.create(new(None)).await.unwrap();
    store.delay.store(1_500, Ordering::SeqCst);
    let begun = Moment::now();
    let calls: Vec<_> = (0..10)
        .map(|number| {
            let (sessions, id) = (sessions.clone(), id.clone());
            tokio::spawn(async move {
                let update = Update::Merge(Data::parse(r#"{"a":1}"#).unwrap());
                match number {
                    0 => sessions.touch(holder(&id)).await,
                    _ => sessions.update(holder(&id), &update, &Precondition::None).await,
                }
            })
        })
        .collect();
    for call in calls {
        assert!(matches!(call.await.unwrap(), Err(Error::Store(StoreError::Unavailable(_)))));
    }
    assert!(begun.elapsed() <= STORE_DEADLINE + Duration::from_millis(10), "{:?}", begun.elapsed());
    assert!(sessions.metrics().to_string().contains("sessman_store_errors_total{kind=\"unavailable\"} 10"));

    store.delay.store(900, Ordering::SeqCst);
    assert!(sessions.touch(holder(&id)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_part_of_a_store_that_hangs_keeps_no_new_session_from_beginning() {
    let store = Arc::new(Unsure::default());
    let clock = Arc::new(ManualClock::new(START));
    let sessions = Arc::new(Sessions::new(store.clone(), clock, Rules::default()));
    store.hangs_below.store(128, Ordering::SeqCst);
    let begun = Moment::now();
    // Together, so that half of them meet it before it is known.
    let calls: Vec<_> = (0..64)
        .map(|_| {
            let sessions = sessions.clone();
            tokio::spawn(async move { sessions.create(new(Some("ada"))).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    // Nobody has the ids of those that were begun twice.
    store.hangs_below.store(0, Ordering::SeqCst);
    tokio::time::sleep(secs(20)).await;
    assert_eq!(store.counts(START, &[]).await.unwrap().active, 64);

    // Where all of it hangs there is no better place, and no more time.
    store.is_known_to_hang.store(false, Ordering::SeqCst);
    store.hangs_below.store(256, Ordering::SeqCst);
    let begun = Moment::now();
    let refused = sessions.create(new(None)).await;
    assert!(matches!(refused, Err(Error::Store(StoreError::Unavailable(_)))), "{refused:?}");
    assert_eq!(begun.elapsed(), STORE_DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn a_login_is_answered_in_time_however_many_calls_it_makes() {
    for on_limit in [OnLimit::EvictOldest, OnLimit::Reject] {
        let store = Arc::new(Unsure::default());
        let clock = Arc::new(ManualClock::new(START));
        let rules = Rules { max_sessions_per_user: Some(1), on_limit, ..Rules::default() };
        let sessions = Arc::new(Sessions::new(store.clone(), clock, rules));
        let (visitor, _) = sessions.create(new(None)).await.unwrap();
        store.delay.store(1_400, Ordering::SeqCst);
        let begun = Moment::now();
        let login = sessions.create(new(Some("ada"))).await;
        assert!(matches!(login, Err(Error::Store(StoreError::Unavailable(_)))), "{login:?}");
        assert!(begun.elapsed() <= STORE_DEADLINE + Duration::from_millis(10), "{:?}", begun.elapsed());
        let begun = Moment::now();
        let login = sessions.rotate(holder(&visitor), Rotation::login("eve".into())).await;
        assert!(matches!(login, Err(Error::Store(StoreError::Unavailable(_)))), "{login:?}");
        assert!(begun.elapsed() <= STORE_DEADLINE + Duration::from_millis(10), "{:?}", begun.elapsed());

        // Where nobody else would be let in for it, a login that nobody heard of is taken back.
        store.delay.store(0, Ordering::SeqCst);
        tokio::time::sleep(secs(20)).await;
        if on_limit == OnLimit::Reject {
            sessions.create(new(Some("ada"))).await.unwrap();
        }
    }
}
