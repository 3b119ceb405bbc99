//! Which sessions are found, counted and ended by conditions.

use std::sync::atomic::Ordering;

use super::unsure::Unsure;
use super::*;
use crate::labels::Label;
use crate::record::TtlSource;

/// More than two pages of the store.
const MANY: usize = 1_300;

fn label(text: &str) -> Label {
    Label::parse(text).unwrap()
}

fn labelled(user_id: Option<&str>, labels: &[&str]) -> NewSession {
    let labels = Labels::from_list(labels.iter().map(|text| label(text)).collect()).unwrap();
    NewSession { labels, ..new(user_id) }
}

/// All that are active before `moment`: each session, if it is in the future.
fn active_before(moment: Timestamp) -> Filter {
    Filter { active_before: Some(moment), ..Filter::default() }
}

fn unsure(rules: Rules) -> (Arc<Unsure>, Engine) {
    let (store, clock) = (Arc::new(Unsure::default()), Arc::new(ManualClock::new(START)));
    let sessions = Arc::new(Sessions::new(store.clone(), clock.clone(), rules));
    (store, Engine { sessions, clock })
}

/// What all pages say: the matches in their order, the unread, and how many pages there were.
struct Found {
    handles: Vec<Handle>,
    unread: Vec<Handle>,
    pages: usize,
}

impl Engine {
    async fn begin_labelled(&self, user_id: Option<&str>, labels: &[&str]) -> SessionId {
        self.sessions.create(labelled(user_id, labels)).await.unwrap().0
    }

    async fn search_all(&self, filter: &Filter, limit: usize) -> Found {
        let mut found = Found { handles: Vec::new(), unread: Vec::new(), pages: 0 };
        let mut after = None;
        loop {
            let page = self.sessions.search(filter, after, limit).await.unwrap();
            assert!(page.items.len() <= limit);
            assert!(page.next.is_none() || page.next > after, "it goes on");
            found.handles.extend(page.items.iter().map(|summary| summary.handle));
            found.unread.extend(page.unread);
            found.pages += 1;
            match page.next {
                Some(next) => after = Some(next),
                None => return found,
            }
        }
    }

    async fn matching(&self, filter: &Filter) -> u64 {
        let preview = self.sessions.preview_end(filter, 0).await.unwrap();
        let (stats, is_complete) = self.sessions.stats_of(filter).await.unwrap();
        assert!(preview.is_complete && is_complete && preview.first.is_empty());
        assert_eq!((preview.matching, stats.expired), (stats.active, 0));
        preview.matching
    }
}

fn handles<'a>(ids: impl IntoIterator<Item = &'a SessionId>) -> Vec<Handle> {
    let mut handles: Vec<Handle> = ids.into_iter().map(SessionId::handle).collect();
    handles.sort_unstable();
    handles
}

#[tokio::test]
async fn each_match_is_on_one_page_however_long_the_pages_are() {
    let engine = engine(Rules::default());
    let mut ids = Vec::new();
    for n in 0..MANY {
        let user_id = ["ada", "eve", "bob"][n % 3];
        let labels: &[&str] = if n % 7 == 0 { &["tenant:acme", "device:phone"] } else { &["tenant:acme"] };
        let metadata = Data::parse(&format!(r#"{{"client_ip":"192.0.2.{}"}}"#, n % 5)).unwrap();
        let session = NewSession { metadata, ..labelled(Some(user_id), labels) };
        ids.push(engine.sessions.create(session).await.unwrap().0);
        engine.clock.advance(Duration::from_millis(1));
    }
    let at = |n: usize| Some(START.after(Duration::from_millis(n as u64)));
    let tenant = || vec![label("tenant:acme")];
    let user = |user_id: &str| Some(user_id.to_owned());
    let address = |text: &str| Some(text.parse::<IpAddr>().unwrap());
    let all = Filter::default;
    type Expected = fn(usize) -> bool;
    let cases: [(Filter, Expected); 11] = [
        (all(), |_| true),
        (Filter { user_id: user("ada"), ..all() }, |n| n % 3 == 0),
        (Filter { labels: tenant(), ..all() }, |_| true),
        (Filter { labels: tenant(), user_id: user("eve"), ..all() }, |n| n % 3 == 1),
        (Filter { labels: vec![label("tenant:acme"), label("device:phone")], ..all() }, |n| n % 7 == 0),
        (Filter { client_ip: address("192.0.2.4"), ..all() }, |n| n % 5 == 4),
        (Filter { client_ip: address("::ffff:192.0.2.4"), ..all() }, |n| n % 5 == 4),
        (Filter { client_ip: address("192.0.2.4"), user_id: user("bob"), ..all() }, |n| n % 15 == 14),
        (Filter { created_after: at(1_100), created_before: at(1_290), ..all() }, |n| {
            (1_100..1_290).contains(&n)
        }),
        (Filter { active_after: at(1_299), ..all() }, |n| n == 1_299),
        (Filter { expires_before: at(86_400_010), ..all() }, |n| n < 10),
    ];
    for (filter, expected) in &cases {
        let expected = handles(ids.iter().enumerate().filter(|(n, _)| expected(*n)).map(|(_, id)| id));
        for limit in [70, 500, 1_000] {
            let found = engine.search_all(filter, limit).await;
            assert!(found.handles == expected && found.unread.is_empty(), "{limit} {filter:?}");
            // No page is short without need.
            assert!(found.pages <= expected.len() / limit + 1, "{} of {limit} {filter:?}", found.pages);
        }
        assert_eq!(engine.matching(filter).await, expected.len() as u64, "{filter:?}");
    }
    let one = engine.search_all(&cases[10].0, 1).await;
    assert!(one.handles.len() == 10 && one.pages <= 11, "{}", one.pages);
}

#[tokio::test]
async fn a_user_with_many_sessions_among_others_is_searched_page_by_page() {
    let engine = engine(Rules::default());
    let mut own = Vec::new();
    for n in 0..MANY {
        let labels: &[&str] = if n % 2 == 0 { &["device:phone"] } else { &[] };
        own.push(engine.begin_labelled(Some("ada"), labels).await);
        if n % 4 == 0 {
            engine.begin_labelled(Some("eve"), labels).await;
            engine.begin(None).await;
        }
    }
    let user = || Filter { user_id: Some("ada".into()), ..Filter::default() };
    let phones = handles(own.iter().step_by(2));
    for limit in [20, 300, 1_000] {
        assert_eq!(engine.search_all(&user(), limit).await.handles, handles(&own));
        let filter = Filter { labels: vec![label("device:phone")], ..user() };
        assert_eq!(engine.search_all(&filter, limit).await.handles, phones);
        let filter = Filter { created_before: Some(START.after(secs(1))), ..filter };
        assert_eq!(engine.search_all(&filter, limit).await.handles, phones);
    }
    let filter = Filter { created_before: Some(START), ..user() };
    assert_eq!(engine.search_all(&filter, 10).await.pages, 1);
}

#[tokio::test]
async fn what_is_over_or_about_to_begin_matches_nothing() {
    let store = memory();
    let engine = on(store, Rules { session_ttl: secs(60), ..Rules::default() });
    let over = engine.begin_labelled(Some("ada"), &["tenant:acme"]).await;
    engine.clock.advance(secs(30));
    let live = engine.begin_labelled(Some("ada"), &["tenant:acme"]).await;
    engine.clock.advance(secs(30));
    let ttl = (secs(60), TtlSource::Configured);
    engine.sessions.insert(&labelled(Some("ada"), &["tenant:acme"]), ttl, true).await.unwrap();
    for filter in [
        Filter { user_id: Some("ada".into()), ..Filter::default() },
        Filter { labels: vec![label("tenant:acme")], ..Filter::default() },
        Filter { created_after: Some(START), ..Filter::default() },
    ] {
        assert_eq!(engine.search_all(&filter, 1).await.handles, [live.handle()], "{filter:?}");
        assert_eq!(engine.matching(&filter).await, 1);
    }
    assert!(!engine.lives(&over).await);
    let (stats, _) =
        engine.sessions.stats_of(&active_before(Timestamp::from_millis(i64::MAX))).await.unwrap();
    let ages: Vec<u64> = stats.by_age.iter().map(|class| class.sessions).collect();
    assert_eq!(ages, [1, 0, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_search_that_finds_nothing_gives_short_pages_and_comes_to_its_end() {
    let (store, engine) = unsure(Rules::default());
    for _ in 0..MANY {
        engine.begin(Some("ada")).await;
    }
    let nothing = Filter { client_ip: Some(IpAddr::from([192, 0, 2, 1])), ..Filter::default() };
    let found = engine.search_all(&nothing, 10).await;
    assert_eq!((found.handles.len(), found.pages), (0, 1), "three pages of the store are quick");
    store.lists_take.store(300, Ordering::SeqCst);
    let found = engine.search_all(&nothing, 10).await;
    assert_eq!((found.handles.len(), found.pages), (0, 2), "nobody waits longer than half a second");
    // Pages of the store that are shorter than asked for.
    store.lists_take.store(0, Ordering::SeqCst);
    store.longest_page.store(7, Ordering::SeqCst);
    let found = engine.search_all(&nothing, 10).await;
    assert_eq!((found.handles.len(), found.pages), (0, 1));
    let each = active_before(START.after(secs(1)));
    for limit in [50, 1_000] {
        let found = engine.search_all(&each, limit).await;
        // The last one may be empty.
        assert!(found.pages <= MANY.div_ceil(limit) + 1, "{limit}: {}", found.pages);
        assert_eq!(found.handles.len(), MANY);
    }
    assert_eq!(engine.matching(&each).await, MANY as u64);
}

#[tokio::test(start_paused = true)]
async fn a_count_that_takes_too_long_says_that_there_are_more() {
    let (store, engine) = unsure(Rules::default());
    for _ in 0..MANY {
        engine.begin(Some("ada")).await;
    }
    store.lists_take.store(1_900, Ordering::SeqCst);
    store.longest_page.store(50, Ordering::SeqCst);
    let user = Filter { user_id: Some("ada".into()), ..Filter::default() };
    let (stats, is_complete) = engine.sessions.stats_of(&user).await.unwrap();
    assert_eq!((stats.active, is_complete), (300, false));
    let preview = engine.sessions.preview_end(&user, 3).await.unwrap();
    assert_eq!((preview.matching, preview.is_complete, preview.first.len()), (300, false, 3));
    // Not even those that were counted end.
    let refused = engine.sessions.end_matching(&user, preview.cutoff, preview.matching).await;
    assert!(matches!(refused, Err(Error::TooManyMatch { at_most: 300 })), "{refused:?}");
    store.lists_take.store(0, Ordering::SeqCst);
    assert_eq!(engine.matching(&user).await, MANY as u64);
}

#[tokio::test]
async fn records_that_cannot_be_read_are_named_once_and_end_with_no_filter() {
    let (store, engine) = unsure(Rules::default());
    let mut ids = Vec::new();
    for _ in 0..MANY {
        ids.push(engine.begin_labelled(Some("ada"), &["tenant:acme"]).await);
    }
    let unread = handles(ids.iter().step_by(3));
    let read = handles(ids.iter().enumerate().filter(|(n, _)| n % 3 != 0).map(|(_, id)| id));
    store.unread.lock().unwrap().extend(unread.iter().copied());
    let each = || active_before(START.after(secs(1)));
    for filter in [
        Filter { user_id: Some("ada".into()), ..Filter::default() },
        Filter { labels: vec![label("tenant:acme")], ..Filter::default() },
        Filter { labels: vec![label("tenant:acme")], ..each() },
        each(),
    ] {
        for limit in [20, 499, 1_000] {
            let found = engine.search_all(&filter, limit).await;
            assert!(found.handles == read && found.unread == unread, "{limit} {filter:?}");
        }
    }
    let preview = engine.sessions.preview_end(&each(), 5).await.unwrap();
    assert_eq!((preview.matching, preview.first.len()), (read.len() as u64, 5));
    let ended = engine.sessions.end_matching(&each(), preview.cutoff, preview.matching).await.unwrap();
    assert_eq!(ended.len(), read.len());
    store.unread.lock().unwrap().clear();
    assert_eq!(engine.search_all(&each(), 1_000).await.handles, unread);
}

#[tokio::test]
async fn what_begins_after_the_cutoff_stays() {
    let engine = engine(Rules::default());
    let before = engine.begin_labelled(Some("ada"), &["tenant:acme"]).await;
    engine.clock.advance(secs(1));
    let at = engine.begin_labelled(Some("ada"), &["tenant:acme"]).await;
    let filter = Filter { labels: vec![label("tenant:acme")], ..Filter::default() };
    let preview = engine.sessions.preview_end(&filter, 10).await.unwrap();
    let first: Vec<Handle> = preview.first.iter().map(|summary| summary.handle).collect();
    assert_eq!((preview.matching, first, preview.cutoff), (2, handles([&before, &at]), START.after(secs(1))));
    engine.clock.advance(Duration::from_millis(1));
    let later = engine.begin_labelled(Some("ada"), &["tenant:acme"]).await;
    // Nor does a filter of its own let the cutoff through.
    let wider = Filter { created_before: Some(START.after(secs(100))), ..filter.clone() };
    assert_eq!(engine.sessions.end_matching(&wider, START, 1).await.unwrap(), [before.handle()]);
    let narrower = Filter { created_before: Some(START.after(secs(1))), ..filter.clone() };
    assert_eq!(engine.sessions.end_matching(&narrower, preview.cutoff, 0).await.unwrap(), []);
    assert_eq!(engine.sessions.end_matching(&filter, preview.cutoff, 1).await.unwrap(), [at.handle()]);
    assert!(engine.lives(&later).await);
}

#[tokio::test]
async fn a_session_that_is_used_after_the_preview_is_not_ended_for_being_idle() {
    let (store, engine) = unsure(Rules { session_ttl: secs(1_000), ..Rules::default() });
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(engine.begin(Some("ada")).await);
    }
    engine.clock.advance(secs(100));
    let idle = || active_before(START.after(secs(50)));
    let preview = engine.sessions.preview_end(&idle(), 10).await.unwrap();
    assert_eq!(preview.matching, 4);
    engine.sessions.touch(holder(&ids[0])).await.unwrap();
    // And one that is used when its end is under way.
    let use_meanwhile = |id: &SessionId| {
        let (sessions, id) = (engine.sessions.clone(), id.clone());
        *store.before_delete.lock().unwrap() =
            Some(Box::new(move || Box::pin(async move { drop(sessions.touch(holder(&id)).await.unwrap()) })));
    };
    use_meanwhile(&ids[1]);
    let ended = engine.sessions.end_matching(&idle(), preview.cutoff, 4).await.unwrap();
    assert_eq!(BTreeSet::from_iter(ended), BTreeSet::from_iter(handles(&ids[2..])));
    assert!(engine.lives(&ids[0]).await && engine.lives(&ids[1]).await);
    assert_eq!(engine.matching(&idle()).await, 0);

    // As little is one ended for expiring soon that was extended meanwhile.
    let [left, extended] = [engine.begin(Some("eve")).await, engine.begin(Some("eve")).await];
    engine.clock.advance(secs(1));
    let expires_before = Some(START.after(secs(1_101)));
    let soon = Filter { user_id: Some("eve".into()), expires_before, ..Filter::default() };
    assert_eq!(engine.matching(&soon).await, 2);
    use_meanwhile(&extended);
    let ended = engine.sessions.end_matching(&soon, engine.clock.now(), 2).await.unwrap();
    assert_eq!(ended, [left.handle()]);
    assert!(engine.lives(&extended).await);
}

#[tokio::test]
async fn an_end_of_many_takes_all_of_them_and_gives_their_places_back() {
    let limit = Rules { max_sessions_per_user: Some(10), on_limit: OnLimit::Reject, ..Rules::default() };
    let engine = engine(limit);
    let mut ids = Vec::new();
    for n in 0..MANY {
        let user_id = format!("user-{}", n / 10);
        ids.push(engine.begin_labelled(Some(&user_id), &["tenant:acme"]).await);
    }
    let other = engine.begin_labelled(Some("other"), &["tenant:other"]).await;
    let filter = Filter { labels: vec![label("tenant:acme")], ..Filter::default() };
    let preview = engine.sessions.preview_end(&filter, 100).await.unwrap();
    assert_eq!((preview.matching, preview.first.len()), (MANY as u64, 100));
    for at_most in [0, 1, 500, MANY as u64 - 1] {
        let refused = engine.sessions.end_matching(&filter, preview.cutoff, at_most).await;
        assert!(
            matches!(refused, Err(Error::TooManyMatch { at_most: most }) if most == at_most),
            "{refused:?}"
        );
    }
    assert_eq!(engine.matching(&filter).await, MANY as u64, "none was ended");
    engine.sessions.create(new(Some("user-7"))).await.unwrap_err();
    let ended = engine.sessions.end_matching(&filter, preview.cutoff, preview.matching).await.unwrap();
    assert_eq!(ended, handles(&ids));
    assert_eq!(engine.sessions.metrics().ended.get(), MANY as u64);
    assert!(!engine.lives(&ids[7]).await && engine.lives(&other).await);
    assert!(engine.sessions.store.places("user-7").await.unwrap().is_empty());
    engine.begin(Some("user-7")).await;
    assert_eq!(engine.sessions.end_matching(&filter, preview.cutoff, 0).await.unwrap(), []);
}
