//! The engine on the memory store, with a clock that goes when it is told to.

mod amendments;
mod cleaned;
mod evictions;
mod filter;
mod in_force;
mod incarnation;
mod late;
mod limits;
mod many;
mod outage;
mod patches;
mod pending;
mod reused;
mod slow;
mod unread;
mod unsure;

use std::collections::BTreeSet;

use super::*;
use crate::id::SessionId;
use crate::labels::Labels;
use crate::rules::{OnLimit, OnMaxTtl, Sliding};
use crate::store::Listing;
use crate::store::memory::{MemoryConfig, MemoryStore};
use crate::time::{ManualClock, Timestamp};

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

struct Engine {
    sessions: Arc<Sessions>,
    clock: Arc<ManualClock>,
}

fn engine(rules: Rules) -> Engine {
    on(memory(), rules)
}

/// With a clock that stands still: what is written lives by the moments that the engine names.
fn memory() -> Arc<MemoryStore> {
    let clock = ManualClock::new(START);
    Arc::new(MemoryStore::new(MemoryConfig::default(), Arc::new(clock)))
}

fn on(store: Arc<MemoryStore>, rules: Rules) -> Engine {
    let clock = Arc::new(ManualClock::new(START));
    Engine { sessions: Arc::new(Sessions::new(store, clock.clone(), rules)), clock }
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn new(user_id: Option<&str>) -> NewSession {
    NewSession {
        user_id: user_id.map(Into::into),
        data: Data::empty(),
        metadata: Data::empty(),
        ttl: None,
        idle: None,
        persistent: false,
        labels: Labels::none(),
        id: None,
        address: None,
    }
}

fn holder(id: &SessionId) -> Credentials<'_> {
    Credentials { key: Key::Id(id), user_id: None, address: None }
}

impl Engine {
    async fn begin(&self, user_id: Option<&str>) -> SessionId {
        self.sessions.create(new(user_id)).await.unwrap().0
    }

    async fn lives(&self, id: &SessionId) -> bool {
        match self.sessions.find(holder(id)).await {
            Ok(_) => true,
            Err(Error::NotFound) => false,
            Err(error) => panic!("{error}"),
        }
    }

    async fn live_of(&self, user_id: &str) -> BTreeSet<Handle> {
        let listing = Listing { user_id: Some(user_id), after: None, limit: 1_000, label: None };
        let page = self.sessions.list(listing).await.unwrap();
        page.items.iter().map(|summary| summary.handle).collect()
    }
}

#[tokio::test]
async fn a_session_ends_at_the_earliest_of_its_ends_to_the_millisecond() {
    let rules = |ttl, idle, absolute| Rules {
        session_ttl: secs(ttl),
        idle_timeout: idle,
        absolute_ttl: absolute,
        ..Rules::default()
    };
    for (rules, ends) in [
        (rules(100, None, None), 100),
        (rules(100, Some(secs(40)), None), 40),
        (rules(100, Some(secs(400)), Some(secs(300))), 100),
        (rules(100, Some(secs(60)), Some(secs(30))), 30),
    ] {
        let engine = engine(rules);
        let id = engine.begin(None).await;
        engine.clock.advance(secs(ends) - Duration::from_millis(1));
        assert!(engine.lives(&id).await);
        engine.clock.advance(Duration::from_millis(1));
        assert!(!engine.lives(&id).await);
    }
}

#[tokio::test]
async fn activity_puts_the_end_off_but_never_beyond_absolute_ttl() {
    let engine = engine(Rules {
        session_ttl: secs(1_000),
        sliding: Some(Sliding::Access),
        idle_timeout: Some(secs(100)),
        absolute_ttl: Some(secs(450)),
        ..Rules::default()
    });
    let ids = [engine.begin(None).await, engine.begin(None).await, engine.begin(None).await];
    for _ in 0..4 {
        engine.clock.advance(secs(99));
        engine.sessions.touch(holder(&ids[0])).await.unwrap();
        let update = Update::Replace(Data::empty());
        engine.sessions.update(holder(&ids[1]), &update, &Precondition::None).await.unwrap();
        engine.sessions.get(holder(&ids[2])).await.unwrap();
    }
    engine.clock.advance(secs(450 - 4 * 99) - Duration::from_millis(1));
    for id in &ids {
        assert_eq!(engine.sessions.touch(holder(id)).await.unwrap().expires_at, START.after(secs(450)));
    }
    engine.clock.advance(Duration::from_millis(1));
    for id in &ids {
        assert!(!engine.lives(id).await);
    }
}

#[tokio::test]
async fn reading_is_written_down_once_in_an_interval() {
    let rules = Rules { sliding: Some(Sliding::Access), idle_timeout: Some(secs(100)), ..Rules::default() };
    let engine = engine(rules);
    let id = engine.begin(None).await;
    // A twentieth of the shorter one.
    for (after, seen) in [(4_999, 0), (1, 5_000), (4_999, 5_000), (5_001, 15_000)] {
        engine.clock.advance(Duration::from_millis(after));
        let record = engine.sessions.get(holder(&id)).await.unwrap();
        assert_eq!(record.last_activity, START.after(Duration::from_millis(seen)));
        assert_eq!(record.expires_at, record.last_activity.after(secs(100)));
        assert_eq!((record.reset_at, record.version), (START, 1), "the time to live goes on");
    }
}

#[tokio::test]
async fn whoever_reads_in_time_stays_and_ends_early_by_the_interval_at_most() {
    for touch_interval in [Some(secs(0)), Some(secs(20)), Some(secs(10_000)), None] {
        let rules = Rules {
            sliding: Some(Sliding::Access),
            idle_timeout: Some(secs(60)),
            session_ttl: secs(1_000_000),
            touch_interval,
            ..Rules::default()
        };
        let interval = touch_interval.unwrap_or(secs(3)).min(secs(30));
        let engine = engine(rules);
        let id = engine.begin(None).await;
        for _ in 0..200 {
            engine.clock.advance(Duration::from_millis(29_999));
            engine.sessions.get(holder(&id)).await.unwrap();
        }
        // It was seen now; it ends a timeout later, or earlier by as much as was not written down.
        let record = engine.sessions.find(holder(&id)).await.unwrap();
        let now = engine.clock.now();
        assert!(record.expires_at <= now.after(secs(60)));
        assert!(record.expires_at >= now.after(secs(60) - interval), "{touch_interval:?}");
    }
}

#[tokio::test]
async fn what_slides_without_an_idle_timeout_is_the_time_to_live() {
    for (sliding, lives) in [(Sliding::Update, false), (Sliding::Access, true)] {
        let engine = engine(Rules { session_ttl: secs(100), sliding: Some(sliding), ..Rules::default() });
        let id = engine.begin(None).await;
        for _ in 0..2 {
            engine.clock.advance(secs(60));
            let _ = engine.sessions.get(holder(&id)).await;
        }
        assert_eq!(engine.lives(&id).await, lives, "{sliding:?}");
    }
}

#[tokio::test]
async fn a_new_id_replaces_the_old_one() {
    let engine = engine(Rules::default());
    let old = engine.begin(None).await;
    let (id, record) = engine.sessions.rotate(holder(&old), Rotation::default()).await.unwrap();
    assert_eq!((id.handle(), record.user_id.as_deref(), record.version), (old.handle(), None, 1));
    assert!(!engine.lives(&old).await && engine.lives(&id).await);
    for result in [
        engine.sessions.rotate(holder(&old), Rotation::default()).await.map(drop),
        engine.sessions.touch(holder(&old)).await.map(drop),
        engine.sessions.end(holder(&old)).await,
    ] {
        assert!(matches!(result, Err(Error::NotFound)));
    }
}

#[tokio::test]
async fn a_visitor_logs_in_once_and_stays_who_they_are() {
    let engine = engine(Rules::default());
    let visitor = engine.begin(None).await;
    engine.clock.advance(secs(60));
    let login = |id: SessionId, user_id: &str| {
        let (sessions, user_id) = (engine.sessions.clone(), user_id.to_owned());
        async move { sessions.rotate(holder(&id), Rotation::login(user_id)).await }
    };
    let (id, record) = login(visitor.clone(), "ada").await.unwrap();
    assert_eq!((record.user_id.as_deref(), record.auth_time), (Some("ada"), Some(START.after(secs(60)))));
    assert_eq!(record.created_at, START);
    assert!(!engine.lives(&visitor).await);
    assert!(matches!(login(id.clone(), "eve").await, Err(Error::OtherUser)));
    assert!(matches!(login(id.clone(), "").await, Err(Error::Invalid(_))));
    engine.clock.advance(secs(60));
    let (again, record) = login(id, "ada").await.unwrap();
    assert_eq!(record.auth_time, Some(START.after(secs(120))));
    assert!(engine.lives(&again).await);
    let (_, begun) = engine.sessions.create(new(Some("eve"))).await.unwrap();
    assert_eq!(begun.auth_time, Some(begun.created_at));
}

#[tokio::test]
async fn a_login_of_a_visitor_counts_for_the_limit() {
    for on_limit in [OnLimit::EvictOldest, OnLimit::Reject] {
        let engine = engine(Rules { max_sessions_per_user: Some(1), on_limit, ..Rules::default() });
        let (first, visitor) = (engine.begin(Some("ada")).await, engine.begin(None).await);
        let login = engine.sessions.rotate(holder(&visitor), Rotation::login("ada".into())).await;
        match on_limit {
            OnLimit::EvictOldest => {
                let (id, _) = login.unwrap();
                assert!(engine.lives(&id).await && !engine.lives(&first).await);
                // Once more is not one more.
                let (id, _) =
                    engine.sessions.rotate(holder(&id), Rotation::login("ada".into())).await.unwrap();
                assert!(engine.lives(&id).await);
            }
            OnLimit::Reject => {
                assert!(matches!(login, Err(Error::LimitReached { .. })));
                assert!(engine.lives(&first).await && engine.lives(&visitor).await);
            }
        }
        assert_eq!(engine.live_of("ada").await.len(), 1);
    }
}

#[tokio::test]
async fn an_id_that_the_caller_chose_opens_one_session() {
    let engine = engine(Rules::default());
    let id = SessionId::external("0123456789-chosen-by-a-framework").unwrap();
    let chosen = NewSession { id: Some(id.clone()), ..new(Some("ada")) };
    let (given, _) = engine.sessions.create(chosen.clone()).await.unwrap();
    assert!(given == id && engine.lives(&id).await);
    assert!(matches!(engine.sessions.create(chosen.clone()).await, Err(Error::Exists)));
    // Rotated to a generated id, it has the same handle, and the one that was chosen opens nothing.
    let (generated, record) = engine.sessions.rotate(holder(&id), Rotation::default()).await.unwrap();
    assert!(!generated.is_external() && record.handle == id.handle());
    assert!(engine.lives(&generated).await && !engine.lives(&id).await);
    assert!(matches!(engine.sessions.create(chosen.clone()).await, Err(Error::Exists)));
    engine.sessions.end(holder(&generated)).await.unwrap();
    engine.sessions.create(chosen).await.unwrap();
}

#[tokio::test]
async fn a_bound_session_answers_one_address() {
    let engine = engine(Rules { bind_ip: true, ..Rules::default() });
    let from = |text: &str| Some(text.parse::<IpAddr>().unwrap());
    let metadata = |text: &str| Data::parse(text).unwrap();
    let begin = |text: &'static str| {
        let new = NewSession { metadata: metadata(text), ..new(None) };
        async { engine.sessions.create(new).await.map(|(id, _)| id) }
    };
    let id = begin(r#"{"client_ip":"192.0.2.1"}"#).await.unwrap();
    for (address, opens) in [
        (from("192.0.2.1"), true),
        (from("::ffff:192.0.2.1"), true),
        (from("192.0.2.2"), false),
        (None, false),
    ] {
        let found = engine.sessions.get(Credentials { address, ..holder(&id) }).await;
        assert_eq!(found.is_ok(), opens, "{address:?}");
        assert_eq!(engine.sessions.touch(Credentials { address, ..holder(&id) }).await.is_ok(), opens);
    }
    let unknown = begin("{}").await.unwrap();
    assert!(engine.sessions.get(holder(&unknown)).await.is_ok());
    assert!(engine.sessions.get(Credentials { address: from("::1"), ..holder(&unknown) }).await.is_err());
    assert!(matches!(begin(r#"{"client_ip":"here"}"#).await, Err(Error::Invalid(_))));
}

#[tokio::test]
async fn sessions_begin_no_faster_than_allowed() {
    let engine = engine(Rules { new_rate: Some(2), ..Rules::default() });
    for _ in 0..2 {
        engine.begin(Some("ada")).await;
    }
    let refused = engine.sessions.create(new(Some("ada"))).await;
    assert!(matches!(refused, Err(Error::TooMany { retry_after: 30 })), "{refused:?}");
    engine.begin(Some("eve")).await;
    engine.clock.advance(secs(30));
    engine.begin(Some("ada")).await;
}

#[tokio::test]
async fn an_update_must_name_its_version_where_that_is_asked_for() {
    let engine = engine(Rules { require_match: true, ..Rules::default() });
    let id = engine.begin(None).await;
    let update = |precondition: Precondition| {
        let (sessions, id) = (engine.sessions.clone(), id.clone());
        async move { sessions.update(holder(&id), &Update::Merge(Data::empty()), &precondition).await.map(drop) }
    };
    assert!(matches!(update(Precondition::None).await, Err(Error::VersionRequired)));
    update(Precondition::Any).await.unwrap();
    let mark = engine.sessions.find(holder(&id)).await.unwrap().mark;
    let versions =
        |versions: &[u64]| Precondition::Versions(versions.iter().map(|version| (*version, mark)).collect());
    assert!(matches!(update(versions(&[1])).await, Err(Error::Changed { version: 2 })));
    update(versions(&[1, 2])).await.unwrap();
}

#[tokio::test]
async fn a_user_sees_and_ends_their_own_sessions_alone() {
    let engine = engine(Rules::default());
    let [own, second, third] =
        [engine.begin(Some("ada")).await, engine.begin(Some("ada")).await, engine.begin(Some("ada")).await];
    let (other, anonymous) = (engine.begin(Some("eve")).await, engine.begin(None).await);
    let (asking, page) = engine.sessions.mine(holder(&own), None, 10).await.unwrap();
    assert_eq!((asking.handle, page.items.len()), (own.handle(), 3));
    let (_, alone) = engine.sessions.mine(holder(&anonymous), None, 10).await.unwrap();
    assert_eq!(alone.items.len(), 1);

    let end = |id: &SessionId, ending| {
        let (sessions, id) = (engine.sessions.clone(), id.clone());
        async move { sessions.end_mine(holder(&id), ending).await }
    };
    for (asking, foreign) in [(&own, &other), (&own, &anonymous), (&anonymous, &own)] {
        assert_eq!(end(asking, Ending::One(foreign.handle())).await.unwrap(), []);
        assert!(engine.lives(foreign).await);
    }
    assert_eq!(end(&own, Ending::One(second.handle())).await.unwrap(), [second.handle()]);
    assert_eq!(end(&own, Ending::Others).await.unwrap(), [third.handle()]);
    assert_eq!(end(&anonymous, Ending::Others).await.unwrap(), []);
    assert!(engine.lives(&own).await && engine.lives(&other).await);
    assert_eq!(end(&anonymous, Ending::One(anonymous.handle())).await.unwrap(), [anonymous.handle()]);
    assert_eq!(engine.sessions.metrics().ended.get(), 3);
}

#[tokio::test]
async fn sessions_are_ended_counted_and_cleared() {
    let engine = engine(Rules { session_ttl: secs(10 * 86_400), ..Rules::default() });
    let mut ids = Vec::new();
    for (user_id, wait) in [("ada", 8 * 86_400), ("ada", 2 * 86_400 - 60), ("eve", 59), ("eve", 0)] {
        ids.push(engine.begin(Some(user_id)).await);
        engine.clock.advance(secs(wait));
    }
    let stats = engine.sessions.stats().await.unwrap();
    assert_eq!((stats.active, stats.expired), (4, 0));
    let ages: Vec<u64> = stats.by_age.iter().map(|class| class.sessions).collect();
    assert_eq!(ages, [2, 0, 1, 1, 0]);
    engine.clock.advance(secs(1));
    let stats = engine.sessions.stats().await.unwrap();
    assert_eq!((stats.active, stats.expired), (3, 1));

    let asked = ids.iter().map(SessionId::handle).chain([Handle::from([0; 12])]).take(3).collect();
    assert_eq!(engine.sessions.end_handles(asked).await.unwrap(), [ids[1].handle(), ids[2].handle()]);
    assert_eq!(engine.sessions.end_user("eve".into()).await.unwrap(), [ids[3].handle()]);
    assert_eq!(engine.sessions.clean_up().await.unwrap(), 1);
    engine.begin(None).await;
    assert_eq!(engine.sessions.clear().await.unwrap(), 1);
    assert_eq!(engine.sessions.stats().await.unwrap().active, 0);
    assert_eq!(engine.sessions.metrics().expired.get(), 1);
}

#[tokio::test]
async fn that_a_session_expired_is_told_once_by_what_meets_it() {
    let engine = engine(Rules { session_ttl: secs(60), ..Rules::default() });
    let (read, left) = (engine.begin(Some("ada")).await, engine.begin(None).await);
    let mut watch = engine.sessions.events().watch();
    engine.clock.advance(secs(60));
    for _ in 0..2 {
        assert!(!engine.lives(&read).await);
    }
    assert_eq!(engine.sessions.clean_up().await.unwrap(), 2);
    engine.sessions.events().end();
    let mut told = Vec::new();
    while let Some(event) = watch.next().await {
        told.push((event.kind, event.handle, event.user_id.clone()));
    }
    let expired =
        |id: &SessionId, user: Option<&str>| (Kind::Expired, Some(id.handle()), user.map(str::to_owned));
    assert_eq!(told, [expired(&read, Some("ada")), expired(&left, None)]);
}
