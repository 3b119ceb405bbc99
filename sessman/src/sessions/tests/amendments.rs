//! Terms, metadata and labels that change: also at the same time, and within the rules in force.

use std::sync::atomic::Ordering;

use super::unsure::Unsure;
use super::*;
use crate::labels::{LabelPatch, MAX_LABELS};

const DAY: Duration = secs(86_400);

fn ttl(seconds: u64) -> Amendment {
    Amendment { ttl: Some(secs(seconds)), ..Amendment::default() }
}

fn idle(seconds: u64) -> Amendment {
    Amendment { idle: Some(secs(seconds)), ..Amendment::default() }
}

fn metadata(patch: &str) -> Amendment {
    Amendment { metadata: Some(Data::parse(patch).unwrap()), ..Amendment::default() }
}

fn labels(changes: &[(&str, Option<&str>)]) -> Amendment {
    let mut patch = LabelPatch::default();
    changes.iter().for_each(|(name, value)| patch.put(name, *value).unwrap());
    Amendment { labels: Some(patch), ..Amendment::default() }
}

/// Engines as of several processes: none waits for another's turn.
fn processes(count: usize, rules: Rules) -> Vec<Engine> {
    let store = memory();
    (0..count).map(|_| on(store.clone(), rules.clone())).collect()
}

impl Engine {
    async fn amend(&self, id: &SessionId, amendment: Amendment) -> Result<Arc<Record>, Error> {
        self.sessions.amend(holder(id), None, &amendment, &Precondition::None).await
    }

    async fn record(&self, id: &SessionId) -> Arc<Record> {
        self.sessions.find(holder(id)).await.unwrap()
    }

    /// Whether it lives until `seconds` after the start, and no longer. The clock is there then.
    async fn ends_at(&self, id: &SessionId, seconds: u64) {
        let last = START.after(secs(seconds)).before(Duration::from_millis(1));
        self.clock.advance(last.since(self.clock.now()));
        assert!(self.clock.now() == last && self.lives(id).await, "{seconds}: it ended too early");
        self.clock.advance(Duration::from_millis(1));
        assert!(!self.lives(id).await, "{seconds}: it lives too long");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_amendments_at_once_none_is_lost() {
    let engines = processes(4, Rules::default());
    for round in 0..20 {
        let id = engines[0].begin(Some("ada")).await;
        let amendments = (0..64).map(|n| match n {
            0 => ttl(1_000 + round),
            1 => idle(500 + round),
            2 => Amendment { persistent: Some(true), ..Amendment::default() },
            3..11 => labels(&[(&format!("l{n}"), Some(&format!("{round}")))]),
            _ => metadata(&format!(r#"{{"m{n}":{round}}}"#)),
        });
        let tasks: Vec<_> = amendments
            .enumerate()
            .map(|(n, amendment)| {
                let (sessions, id) = (engines[n % 4].sessions.clone(), id.clone());
                tokio::spawn(async move {
                    let merge = Update::Merge(Data::parse(&format!(r#"{{"d{n}":{n}}}"#)).unwrap());
                    // Some of them with data in the same write.
                    let update = (n % 3 == 0).then_some(&merge);
                    sessions.amend(holder(&id), update, &amendment, &Precondition::None).await.map(drop)
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        let record = engines[0].record(&id).await;
        assert_eq!((record.ttl, record.idle), (secs(1_000 + round), Some(secs(500 + round))));
        assert_eq!(record.expires_at, START.after(secs(500 + round)));
        assert!(record.persistent && record.labels.iter().count() == MAX_LABELS);
        let members = |data: &Data| data.to_value().as_object().unwrap().len();
        assert_eq!((members(&record.metadata), members(&record.data)), (64 - 11, 22));
        // Those that change no more than the terms count for no version.
        assert_eq!(record.version, 1 + 64 - 2, "the ttl came with data, idle and persistent alone");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn amendments_updates_and_rotations_at_once_all_take_effect() {
    let engines = processes(3, Rules::default());
    for round in 0..20 {
        let visitor = engines[0].begin(None).await;
        let amending = |engine: &Engine, n: usize| {
            let (sessions, id) = (engine.sessions.clone(), visitor.clone());
            let amendment = match n {
                0 => ttl(2 * 86_400),
                1 => labels(&[("tenant", Some("acme"))]),
                _ => metadata(&format!(r#"{{"m{n}":1}}"#)),
            };
            tokio::spawn(async move {
                let done = sessions.amend(holder(&id), None, &amendment, &Precondition::None).await;
                (n, done.map(drop))
            })
        };
        let updating = |engine: &Engine| {
            let (sessions, id) = (engine.sessions.clone(), visitor.clone());
            tokio::spawn(async move {
                let update = Update::Replace(Data::parse(r#"{"cart":[7]}"#).unwrap());
                sessions.update(holder(&id), &update, &Precondition::None).await.map(drop)
            })
        };
        let amended: Vec<_> = (0..12).map(|n| amending(&engines[n % 3], n)).collect();
        let updated: Vec<_> = engines.iter().map(updating).collect();
        let rotation =
            Rotation { login: Some("ada".into()), to: None, amendment: labels(&[("device", Some("phone"))]) };
        let (id, _) = engines[1].sessions.rotate(holder(&visitor), rotation).await.unwrap();
        let mut done = BTreeSet::new();
        for amended in amended {
            match amended.await.unwrap() {
                (n, Ok(())) => drop(done.insert(n)),
                // The id was replaced before.
                (_, Err(Error::NotFound)) => {}
                (_, Err(error)) => panic!("{error}"),
            }
        }
        let mut is_updated = false;
        for updated in updated {
            match updated.await.unwrap() {
                Ok(()) => is_updated = true,
                Err(Error::NotFound) => {}
                Err(error) => panic!("{error}"),
            }
        }
        let record = engines[2].record(&id).await;
        assert_eq!(record.user_id.as_deref(), Some("ada"));
        let has = |text: &str| record.labels.has(&crate::labels::Label::parse(text).unwrap());
        assert!(
            has("device:phone") && has("tenant:acme") == done.contains(&1),
            "{round} {done:?} {record:?}"
        );
        let lasts = if done.contains(&0) { 2 * DAY } else { DAY };
        assert_eq!((record.ttl, record.expires_at), (lasts, START.after(lasts)), "{done:?}");
        for n in 2..12 {
            let is_there = record.metadata.to_value().get(format!("m{n}")).is_some();
            assert_eq!(is_there, done.contains(&n), "{n}");
        }
        assert_eq!(record.data.to_value().get("cart").is_some(), is_updated);
        assert!(!engines[0].lives(&visitor).await);
    }
}

/// Whoever renews a session that was amended since they read it renews it under the terms that it has now.
#[tokio::test]
async fn a_renewal_follows_terms_that_change_at_the_same_time() {
    for (before, after) in
        [(ttl(100), ttl(1_000)), (ttl(1_000), ttl(100)), (idle(100), idle(1_000)), (idle(1_000), idle(100))]
    {
        let seconds = after.ttl.or(after.idle).unwrap().as_secs();
        for renewal in ["touch", "update", "get", "rotate", "login"] {
            let (store, clock) = (Arc::new(Unsure::default()), Arc::new(ManualClock::new(START)));
            let rules =
                Rules { sliding: Some(Sliding::Access), touch_interval: Some(secs(0)), ..Rules::default() };
            let of_process = || Arc::new(Sessions::new(store.clone(), clock.clone(), rules.clone()));
            let engine = Engine { sessions: of_process(), clock: clock.clone() };
            let other = Engine { sessions: of_process(), clock: clock.clone() };
            let id = engine.begin(None).await;
            engine.amend(&id, before.clone()).await.unwrap();
            clock.advance(secs(10));
            *store.before_update.lock().unwrap() = Some(Box::new({
                let (id, after) = (id.clone(), after.clone());
                move || Box::pin(async move { drop(other.amend(&id, after).await.unwrap()) })
            }));
            let update = Update::Replace(Data::empty());
            let (id, record) = match renewal {
                "touch" => (id.clone(), engine.sessions.touch(holder(&id)).await.unwrap()),
                "update" => {
                    let updated = engine.sessions.update(holder(&id), &update, &Precondition::None).await;
                    (id, updated.unwrap())
                }
                "get" => {
                    engine.sessions.get(holder(&id)).await.unwrap();
                    (id.clone(), engine.record(&id).await)
                }
                "rotate" => engine.sessions.rotate(holder(&id), Rotation::default()).await.unwrap(),
                _ => engine.sessions.rotate(holder(&id), Rotation::login("ada".into())).await.unwrap(),
            };
            assert!(store.before_update.lock().unwrap().is_none());
            assert_eq!((record.ttl, record.idle), (after.ttl.unwrap_or(DAY), after.idle), "{renewal}");
            assert_eq!(record.expires_at, START.after(secs(10 + seconds)), "{renewal} {before:?} {after:?}");
            assert_eq!(engine.record(&id).await, record);
            engine.ends_at(&id, 10 + seconds).await;
        }
    }
}

#[tokio::test]
async fn a_rotation_that_is_refused_leaves_everything_as_it_was() {
    for on_limit in [OnLimit::EvictOldest, OnLimit::Reject] {
        let engine = engine(Rules {
            max_sessions_per_user: Some(1),
            on_limit,
            bind_ip: true,
            max_data_bytes: 1_000,
            max_idle: Some(secs(600)),
            ..Rules::default()
        });
        let eve = engine.begin(Some("eve")).await;
        let full: Vec<String> = (0..MAX_LABELS).map(|n| format!("l{n}")).collect();
        let full: Vec<(&str, Option<&str>)> = full.iter().map(|name| (name.as_str(), Some("1"))).collect();
        let visitor = engine.begin(None).await;
        engine.amend(&visitor, labels(&full)).await.unwrap();
        let before = engine.record(&visitor).await;
        engine.clock.advance(secs(5));
        let too_large = format!(r#"{{"text":"{}"}}"#, "x".repeat(990));
        for amendment in [
            ttl(0),
            ttl(30 * 86_400 + 1),
            idle(0),
            idle(601),
            labels(&[("l0", Some("2")), ("one_more", Some("1"))]),
            metadata(r#"{"client_ip":"here"}"#),
            metadata(r#"{"client_ip":7}"#),
            metadata(&too_large),
        ] {
            for login in [None, Some("ada"), Some("eve")] {
                let rotation =
                    Rotation { login: login.map(Into::into), to: None, amendment: amendment.clone() };
                let refused = engine.sessions.rotate(holder(&visitor), rotation).await;
                assert!(matches!(refused, Err(Error::Invalid(_) | Error::TooLarge { .. })), "{amendment:?}");
                let refused = engine.amend(&visitor, amendment.clone()).await;
                assert!(matches!(refused, Err(Error::Invalid(_) | Error::TooLarge { .. })), "{amendment:?}");
            }
        }
        assert_eq!(engine.record(&visitor).await, before);
        assert!(engine.lives(&eve).await && engine.sessions.metrics().evicted.get() == 0);
        assert!(engine.sessions.store.places("ada").await.unwrap().is_empty());
        assert_eq!(engine.sessions.store.places("eve").await.unwrap(), [eve.handle()]);
    }
}

#[tokio::test]
async fn a_login_whose_amendment_others_make_invalid_gives_its_place_back() {
    let store = Arc::new(Unsure::default());
    let rules = Rules { max_sessions_per_user: Some(1), on_limit: OnLimit::Reject, ..Rules::default() };
    let engine = Engine {
        sessions: Arc::new(Sessions::new(store.clone(), Arc::new(ManualClock::new(START)), rules.clone())),
        clock: Arc::new(ManualClock::new(START)),
    };
    let visitor = engine.begin(None).await;
    let other = on(store.inner.clone(), rules);
    let full: Vec<String> = (0..MAX_LABELS).map(|n| format!("l{n}")).collect();
    *store.before_update.lock().unwrap() = Some(Box::new({
        let visitor = visitor.clone();
        move || {
            Box::pin(async move {
                let full: Vec<(&str, Option<&str>)> =
                    full.iter().map(|name| (name.as_str(), Some("1"))).collect();
                other.amend(&visitor, labels(&full)).await.unwrap();
            })
        }
    }));
    let rotation =
        Rotation { login: Some("ada".into()), to: None, amendment: labels(&[("device", Some("phone"))]) };
    let refused = engine.sessions.rotate(holder(&visitor), rotation).await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    assert_eq!(engine.record(&visitor).await.user_id, None);
    assert!(engine.sessions.store.places("ada").await.unwrap().is_empty());
    engine.begin(Some("ada")).await;
}

#[tokio::test]
async fn metadata_is_patched_and_stays_what_a_bound_session_needs() {
    let engine = engine(Rules { bind_ip: true, max_data_bytes: 100, ..Rules::default() });
    let address = |text: &str| Some(text.parse::<IpAddr>().unwrap());
    let session = NewSession {
        metadata: Data::parse(r#"{"client_ip":"192.0.2.1","device":"phone"}"#).unwrap(),
        ..new(None)
    };
    let (id, _) = engine.sessions.create(session).await.unwrap();
    let from = |text: &str| Credentials { address: address(text), ..holder(&id) };
    let amend = |credentials, patch: &str| {
        let (sessions, amendment) = (engine.sessions.clone(), metadata(patch));
        async move { sessions.amend(credentials, None, &amendment, &Precondition::None).await }
    };
    let changed = amend(from("192.0.2.1"), r#"{"device":null,"app":{"n":1}}"#).await.unwrap();
    assert_eq!(changed.metadata.as_str(), r#"{"client_ip":"192.0.2.1","app":{"n":1}}"#);
    assert_eq!(changed.version, 2);
    let same = amend(from("192.0.2.1"), r#"{"device":null,"app":{"n":1}}"#).await.unwrap();
    assert_eq!((same.version, &same.metadata), (2, &changed.metadata));
    for wrong in [r#"{"client_ip":"here"}"#, r#"{"client_ip":["192.0.2.1"]}"#, r#"{"client_ip":""}"#] {
        let refused = amend(from("192.0.2.1"), wrong).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{wrong}");
    }
    let long = format!(r#"{{"text":"{}"}}"#, "x".repeat(80));
    assert!(matches!(amend(from("192.0.2.1"), &long).await, Err(Error::TooLarge { what: "metadata", .. })));
    // Not from another address, and from then on not from the old one.
    assert!(matches!(amend(from("192.0.2.2"), "{}").await, Err(Error::NotFound)));
    amend(from("192.0.2.1"), r#"{"client_ip":"::ffff:192.0.2.2"}"#).await.unwrap();
    assert!(engine.sessions.get(from("192.0.2.1")).await.is_err());
    amend(from("192.0.2.2"), r#"{"client_ip":null}"#).await.unwrap();
    assert!(engine.sessions.get(from("192.0.2.2")).await.is_err());
    assert!(engine.sessions.get(holder(&id)).await.is_ok());
}

#[tokio::test]
async fn a_time_to_live_of_its_own_counts_from_the_amendment_and_never_beyond_absolute_ttl() {
    let rules = Rules { session_ttl: secs(100), absolute_ttl: Some(secs(450)), ..Rules::default() };
    let longer = engine(rules.clone());
    let id = longer.begin(None).await;
    longer.clock.advance(secs(99));
    longer.amend(&id, ttl(300)).await.unwrap();
    longer.clock.advance(secs(299));
    for amendment in [ttl(86_400), idle(86_400), ttl(52), Amendment::default()] {
        assert_eq!(longer.amend(&id, amendment).await.unwrap().expires_at, START.after(secs(450)));
    }
    longer.ends_at(&id, 450).await;

    // A shorter one applies at once, whatever the session had before.
    let shorter = engine(rules);
    let [first, second, third] =
        [shorter.begin(None).await, shorter.begin(None).await, shorter.begin(None).await];
    shorter.clock.advance(secs(10));
    assert_eq!(shorter.amend(&first, ttl(5)).await.unwrap().expires_at, START.after(secs(15)));
    shorter.amend(&second, idle(7)).await.unwrap();
    shorter.amend(&third, ttl(5)).await.unwrap();
    let extended = shorter.amend(&third, ttl(90)).await.unwrap();
    assert_eq!(extended.expires_at, START.after(secs(100)));
    shorter.ends_at(&first, 15).await;
    shorter.ends_at(&second, 17).await;
    shorter.ends_at(&third, 100).await;
}

#[tokio::test]
async fn an_idle_timeout_of_its_own_slides_as_it_is_configured() {
    for (sliding, reading_counts) in
        [(None, true), (Some(Sliding::Access), true), (Some(Sliding::Update), false)]
    {
        for configured in [None, Some(secs(1_000))] {
            let rules =
                Rules { sliding, idle_timeout: configured, session_ttl: secs(10_000), ..Rules::default() };
            let engine = engine(rules);
            let [read, touched] = [engine.begin(None).await, engine.begin(None).await];
            for id in [&read, &touched] {
                engine.amend(id, idle(60)).await.unwrap();
            }
            for _ in 0..3 {
                engine.clock.advance(secs(40));
                let _ = engine.sessions.get(holder(&read)).await;
                engine.sessions.touch(holder(&touched)).await.unwrap();
            }
            assert_eq!(engine.lives(&read).await, reading_counts, "{sliding:?} {configured:?}");
            // With none of its own, it lasts as long as its time to live.
            engine.amend(&touched, idle(0)).await.unwrap();
            engine.ends_at(&touched, 120 + 10_000).await;
        }
    }
}

#[tokio::test]
async fn terms_of_its_own_give_way_to_rules_that_became_stricter() {
    let began = Rules { session_ttl: secs(100_000), ..Rules::default() };
    let lowered = [
        (Rules { max_idle: Some(secs(50)), ..began.clone() }, 50),
        (Rules { max_idle: Some(secs(50)), idle_timeout: Some(secs(70)), ..began.clone() }, 70),
        (Rules { absolute_ttl: Some(secs(30)), ..began.clone() }, 30),
    ];
    for (rules, ends) in lowered {
        for own in [idle(10_000), idle(0)] {
            let store = memory();
            let (before, now) = (on(store.clone(), began.clone()), on(store, rules.clone()));
            let id = before.begin(None).await;
            before.amend(&id, own.clone()).await.unwrap();
            let refused = now.amend(&id, own).await;
            assert_eq!(matches!(refused, Err(Error::Invalid(_))), rules.max_idle.is_some());
            let restarted = now.sessions.touch(holder(&id)).await.unwrap();
            assert_eq!(restarted.expires_at, START.after(secs(ends)), "{rules:?}");
            now.ends_at(&id, ends).await;
        }
    }
    // Without a new write, too; and a session with no idle timeout of its own gets none.
    let store = memory();
    let now = on(
        store.clone(),
        Rules { max_idle: Some(secs(50)), max_ttl: secs(100), session_ttl: secs(100), ..began.clone() },
    );
    let before = on(store, began);
    let [own, none, long] = [before.begin(None).await, before.begin(None).await, before.begin(None).await];
    before.amend(&own, idle(0)).await.unwrap();
    before.amend(&long, ttl(5_000)).await.unwrap();
    now.ends_at(&own, 50).await;
    assert!(before.lives(&own).await, "nothing was written");
    now.ends_at(&long, 100).await;
    assert!(now.lives(&none).await);
}

#[tokio::test]
async fn a_longer_time_to_live_than_allowed_is_refused_or_cut() {
    for (on_max_ttl, session_ttl) in [(OnMaxTtl::Refuse, 100), (OnMaxTtl::Cut, 100), (OnMaxTtl::Cut, 5_000)] {
        let engine = engine(Rules {
            session_ttl: secs(session_ttl),
            max_ttl: secs(1_000),
            on_max_ttl,
            ..Rules::default()
        });
        let id = engine.begin(None).await;
        let amended = engine.amend(&id, ttl(1_001)).await;
        match on_max_ttl {
            OnMaxTtl::Refuse => assert!(matches!(amended, Err(Error::Invalid(_)))),
            OnMaxTtl::Cut => assert_eq!(amended.unwrap().expires_at, START.after(secs(1_000))),
        }
        assert_eq!(engine.amend(&id, ttl(1_000)).await.unwrap().expires_at, START.after(secs(1_000)));
        let part = Amendment { ttl: Some(Duration::from_millis(999)), ..Amendment::default() };
        assert!(matches!(engine.amend(&id, part).await, Err(Error::Invalid(_))), "{on_max_ttl:?}");
        engine.ends_at(&id, 1_000).await;
    }
}

#[tokio::test]
async fn an_amendment_that_is_not_acknowledged_is_made_once() {
    let store = Arc::new(Unsure::default());
    let clock = Arc::new(ManualClock::new(START));
    let engine =
        Engine { sessions: Arc::new(Sessions::new(store.clone(), clock.clone(), Rules::default())), clock };
    let id = engine.begin(None).await;
    store.silent_updates.store(1, Ordering::SeqCst);
    let change = || labels(&[("tenant", Some("acme"))]);
    assert!(matches!(engine.amend(&id, change()).await, Err(Error::Store(_))));
    // Asked again, there is nothing left to change.
    assert_eq!(engine.amend(&id, change()).await.unwrap().version, 2);
}
