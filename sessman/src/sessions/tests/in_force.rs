//! Sessions that began under other rules than those in force.

use super::*;

/// One store under the rules of before and under those of now.
fn changed(before: Rules, now: Rules) -> [Engine; 2] {
    let store = memory();
    [before, now].map(|rules| on(store.clone(), rules))
}

fn advance(engines: &[Engine; 2], by: Duration) {
    engines.iter().for_each(|engine| engine.clock.advance(by));
}

#[tokio::test]
async fn a_stricter_rule_ends_what_is_over_by_it_at_once() {
    let begun = || Rules { session_ttl: secs(100), ..Rules::default() };
    let stricter = [
        Rules { absolute_ttl: Some(secs(2)), ..begun() },
        Rules { idle_timeout: Some(secs(2)), sliding: Some(Sliding::Access), ..begun() },
        Rules { session_ttl: secs(2), max_ttl: secs(2), ..begun() },
    ];
    for rules in stricter {
        let engines = changed(begun(), rules.clone());
        let own = NewSession { ttl: Some(secs(50)), ..new(Some("ada")) };
        let (id, _) = engines[0].sessions.create(own).await.unwrap();
        advance(&engines, secs(2) - Duration::from_millis(1));
        assert!(engines[1].lives(&id).await, "{rules:?}");
        advance(&engines, Duration::from_millis(1));
        let sessions = &engines[1].sessions;
        assert!(matches!(sessions.get(holder(&id)).await, Err(Error::NotFound)), "{rules:?}");
        assert!(matches!(sessions.touch(holder(&id)).await, Err(Error::NotFound)), "{rules:?}");
        assert!(
            matches!(sessions.rotate(holder(&id), Rotation::default()).await, Err(Error::NotFound)),
            "{rules:?}"
        );
        assert!(engines[1].live_of("ada").await.is_empty(), "{rules:?}");
        assert!(engines[0].lives(&id).await, "nothing was written");
    }
}

#[tokio::test]
async fn a_new_session_ttl_counts_from_the_next_renewal_on() {
    for (was, is) in [(100, 10), (10, 100)] {
        let rules = |ttl| Rules { session_ttl: secs(ttl), ..Rules::default() };
        let engines = changed(rules(was), rules(is));
        let configured = engines[0].begin(None).await;
        let own = NewSession { ttl: Some(secs(50)), ..new(None) };
        let (own, _) = engines[0].sessions.create(own).await.unwrap();
        let lasts = |record: &Record| record.expires_at.since(record.reset_at);
        let read = engines[1].sessions.get(holder(&configured)).await.unwrap();
        assert_eq!(lasts(&read), secs(was));
        assert_eq!(lasts(&engines[1].sessions.touch(holder(&configured)).await.unwrap()), secs(is));
        assert_eq!(lasts(&engines[1].sessions.touch(holder(&own)).await.unwrap()), secs(50));
    }
}

#[tokio::test]
async fn what_has_ended_by_the_rules_counts_for_no_limit() {
    let begun = Rules { max_sessions_per_user: Some(1), on_limit: OnLimit::Reject, ..Rules::default() };
    let engines = changed(begun.clone(), Rules { absolute_ttl: Some(secs(10)), ..begun });
    engines[0].begin(Some("ada")).await;
    advance(&engines, secs(10));
    let next = engines[1].begin(Some("ada")).await;
    assert_eq!(engines[1].live_of("ada").await, BTreeSet::from([next.handle()]));
}
