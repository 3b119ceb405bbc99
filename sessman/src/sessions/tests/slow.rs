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
