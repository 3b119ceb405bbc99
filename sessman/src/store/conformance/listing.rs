//! `list`: paged, in the order of handles, all records or one user's.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Records `numbers` in the order of their handles, as lists show them.
fn in_order(numbers: impl IntoIterator<Item = u32>) -> Vec<Summary> {
    let mut summaries: Vec<_> = numbers.into_iter().map(|n| record(n).summary()).collect();
    summaries.sort_unstable_by_key(|summary| summary.handle);
    summaries
}

pub(crate) async fn pages_are_in_the_order_of_handles(store: Arc<dyn Store>) {
    let expected = in_order(0..25);
    for n in 0..25 {
        create(&*store, &record(n)).await;
    }
    let first = store.list(Listing { limit: 10, ..Listing::default() }, at(0)).await.unwrap();
    assert_eq!(first.items, expected[..10]);
    assert_eq!(first.next, Some(expected[9].handle));

    // `after` need not be a handle that is stored.
    let mut between = *expected[14].handle.as_bytes();
    between[11] ^= 0xFF;
    let after = Some(Handle::from(between));
    let page = store.list(Listing { after, limit: 100, user_id: None, label: None }, at(0)).await.unwrap();
    let rest: Vec<_> = expected.iter().filter(|record| Some(record.handle) > after).cloned().collect();
    assert_eq!(page.items, rest);
    assert_eq!(page.next, None);
}

pub(crate) async fn a_page_of_every_size_leads_to_the_end(store: Arc<dyn Store>) {
    for n in 0..12 {
        create(&*store, &record(n)).await;
    }
    // 1, 2, 3, 4, 6 and 12 divide the number of records: the last full page must know that it is the last.
    for limit in [1, 2, 3, 4, 5, 6, 11, 12, 13, 1_000] {
        assert_eq!(list_all(&*store, None, limit, 0).await, in_order(0..12), "pages of {limit}");
    }
    let full = store.list(Listing { limit: 12, ..Listing::default() }, at(0)).await.unwrap();
    assert_eq!((full.items.len(), full.next), (12, None));
}

pub(crate) async fn only_live_records_are_listed(store: Arc<dyn Store>) {
    for n in 0..30 {
        create(&*store, &if n % 3 == 0 { record(n) } else { expiring(n, 1_000) }).await;
    }
    let live = in_order((0..30).filter(|n| n % 3 == 0));
    for limit in [1, 2, 5, 10, 30] {
        assert_eq!(list_all(&*store, None, limit, 1_000).await, live, "pages of {limit}");
    }
    assert_eq!(list_all(&*store, None, 7, 999).await.len(), 30);
}

pub(crate) async fn a_user_has_their_own_list(store: Arc<dyn Store>) {
    let users = ["ada", "Ada", "ada ", "ad", "é", "e\u{301}"];
    for n in 0..36 {
        let user_id = users.get(n as usize % 7).map(|&user| user.to_owned());
        create(&*store, &Record { user_id, ..record(n) }).await;
    }
    for (index, user) in users.iter().enumerate() {
        let expected: Vec<_> = in_order((0..36).filter(|n| *n as usize % 7 == index))
            .into_iter()
            .map(|summary| Summary { user_id: Some((*user).to_owned()), ..summary })
            .collect();
        for limit in [1, 2, 3, 50] {
            assert_eq!(list_all(&*store, Some(user), limit, 0).await, expected, "{user}, pages of {limit}");
        }
    }
    assert_eq!(list_all(&*store, Some("nobody"), 5, 0).await, []);
    assert_eq!(list_all(&*store, Some(""), 5, 0).await, []);
    assert_eq!(list_all(&*store, None, 5, 0).await.len(), 36);
}

pub(crate) async fn a_record_follows_its_new_user(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    let claimed = update(&*store, 1, holder(1), &Change { user_id: Some("ada".into()), ..touch(1) }).await;
    assert_eq!(list_all(&*store, Some("ada"), 5, 1).await, [claimed.summary()]);
    let given = update(&*store, 1, holder(1), &Change { user_id: Some("bob".into()), ..touch(2) }).await;
    assert_eq!(list_all(&*store, Some("ada"), 5, 2).await, []);
    assert_eq!(list_all(&*store, Some("bob"), 5, 2).await, [given.summary()]);
    assert!(delete(&*store, 1, None).await);
    assert_eq!(list_all(&*store, Some("bob"), 5, 2).await, []);
}

/// The sessions of a label, by pages of `limit`.
async fn list_label(store: &dyn Store, label: &Label, user_id: Option<&str>, limit: usize) -> Vec<Summary> {
    let (mut summaries, mut after) = (Vec::new(), None);
    loop {
        let listing = Listing { user_id, label: Some(label), after, limit };
        let page = store.list(listing, at(0)).await.unwrap();
        assert!(page.items.len() <= limit);
        summaries.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return summaries,
        }
    }
}

/// Record `n` with these labels, all of one value.
fn labelled(n: u32, names: &[&str], value: &str) -> Record {
    Record { labels: labels(names, value), ..record(n) }
}

pub(crate) async fn a_label_has_its_own_list(store: Arc<dyn Store>) {
    for n in 0..40_u32 {
        let user_id = n.is_multiple_of(2).then(|| "ada".to_owned());
        let value = if n % 4 < 2 { "1" } else { "2" };
        let record = match n % 5 {
            0 => record(n),
            1 => labelled(n, &["a"], value),
            _ => labelled(n, &["a", "b"], value),
        };
        create(&*store, &Record { user_id, ..record }).await;
    }
    for (name, value) in [("a", "1"), ("a", "2"), ("b", "1"), ("b", "2"), ("c", "1"), ("a", "3")] {
        let label = Label::new(name, value).unwrap();
        for user_id in [None, Some("ada"), Some("bob")] {
            let all = list_all(&*store, user_id, 100, 0).await;
            let expected: Vec<_> = all.into_iter().filter(|summary| summary.labels.has(&label)).collect();
            for limit in [1, 3, 50] {
                assert_eq!(list_label(&*store, &label, user_id, limit).await, expected, "{label}, {limit}");
            }
            assert_eq!(expected.is_empty(), name == "c" || value == "3" || user_id == Some("bob"));
        }
    }
}

pub(crate) async fn a_record_follows_its_new_labels(store: Arc<dyn Store>) {
    let [a, b] = ["a", "b"].map(|name| Label::new(name, "1").unwrap());
    create(&*store, &labelled(1, &["a"], "1")).await;
    create(&*store, &labelled(2, &["a"], "1")).await;
    let handles = async |label| -> Vec<Handle> {
        list_label(&*store, label, None, 5).await.iter().map(|summary| summary.handle).collect()
    };
    assert_eq!(handles(&a).await.len(), 2);
    let change = Change { labels: Some(labels(&["b"], "1")), ..touch(0) };
    let changed = update(&*store, 1, (labelled(1, &["a"], "1"), Unless::Changed), &change).await;
    assert_eq!((handles(&a).await, handles(&b).await), (vec![handle(2)], vec![handle(1)]));
    let back = Change { labels: Some(labels(&["a", "b"], "1")), ..touch(0) };
    update(&*store, 1, (changed, Unless::Changed), &back).await;
    assert_eq!((handles(&a).await.len(), handles(&b).await), (2, vec![handle(1)]));
    assert!(delete(&*store, 1, None).await);
    assert_eq!((handles(&a).await, handles(&b).await), (vec![handle(2)], vec![]));
    // A record in place of an expired one has its own labels alone.
    let now = at(TTL);
    let replaced = Record { expires_at: at(2 * TTL), ..labelled(2, &["b"], "1") };
    assert_eq!(store.create(Arc::new(replaced), now).await.unwrap(), Created::Yes);
    assert_eq!((handles(&a).await, handles(&b).await), (vec![], vec![handle(2)]));
    store.clear().await.unwrap();
    assert_eq!(handles(&b).await, []);
}

pub(crate) async fn labels_that_look_alike_have_lists_of_their_own(store: Arc<dyn Store>) {
    let values = ["1", "1 2", "01", "é", "e\u{301}", "É", "a:b", "a", "{a}", "*", "%", "$a", "a.b", "null"];
    for (n, value) in values.iter().enumerate() {
        create(&*store, &labelled(n as u32, &["a"], value)).await;
        create(&*store, &labelled(n as u32 + 100, &["a_1"], value)).await;
    }
    for (n, value) in values.iter().enumerate() {
        for (name, first) in [("a", 0), ("a_1", 100)] {
            let found = list_label(&*store, &Label::new(name, value).unwrap(), None, 9).await;
            let found: Vec<Handle> = found.iter().map(|summary| summary.handle).collect();
            assert_eq!(found, [handle(n as u32 + first)], "{name}:{value}");
        }
    }
}

pub(crate) async fn an_empty_store_has_one_empty_page(store: Arc<dyn Store>) {
    for user_id in [None, Some("ada")] {
        let page = store.list(Listing { user_id, after: None, limit: 3, label: None }, at(0)).await.unwrap();
        assert_eq!((page.items.len(), page.next), (0, None));
    }
}

pub(crate) async fn paging_while_writing_gives_each_record_once(store: Arc<dyn Store>) {
    const LASTING: u32 = 60;
    const PASSING: u32 = 20;
    for n in 0..LASTING {
        create(&*store, &Record { user_id: Some("ada".into()), ..record(n) }).await;
    }
    let done = Arc::new(AtomicBool::new(false));
    let churn = |from: u32| {
        let (store, done) = (store.clone(), done.clone());
        tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                for n in from..from + PASSING {
                    create(&*store, &Record { user_id: Some("ada".into()), ..record(n) }).await;
                    let lasting = n % LASTING;
                    update(&*store, lasting, holder(lasting), &write(1, &n.to_string())).await;
                }
                for n in from..from + PASSING {
                    assert!(delete(&*store, n, None).await);
                }
            }
        })
    };
    let writers = [churn(1_000), churn(2_000)];
    for round in 0..6 {
        let user_id = (round % 2 == 1).then_some("ada");
        let listed = list_all(&*store, user_id, 7, 1).await;
        assert!(listed.is_sorted_by(|a, b| a.handle < b.handle), "each handle comes once, in order");
        let mut times_seen: HashMap<Handle, u32> = HashMap::new();
        for record in &listed {
            *times_seen.entry(record.handle).or_default() += 1;
        }
        for n in 0..LASTING {
            assert_eq!(times_seen.get(&handle(n)), Some(&1), "record {n} in round {round}");
        }
    }
    done.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(list_all(&*store, None, 50, 1).await.len(), LASTING as usize);
}

/// A session whose metadata has so many bytes.
fn described(n: u32, bytes: usize) -> Record {
    let metadata = data(&format!(r#"{{"user_agent":"{}"}}"#, "x".repeat(bytes)));
    Record { metadata, user_id: Some("ada".into()), ..record(n) }
}

pub(crate) async fn pages_end_early_where_sessions_are_large(store: Arc<dyn Store>) {
    const EACH: usize = PAGE_BYTES / 20;
    for n in 0..30 {
        create(&*store, &described(n, EACH)).await;
    }
    for user_id in [None, Some("ada")] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = store.list(Listing { user_id, after, limit: 100, label: None }, at(0)).await.unwrap();
            let bytes: usize = page.items.iter().map(|summary| summary.metadata.as_str().len()).sum();
            assert!(bytes < PAGE_BYTES + 2 * EACH, "{bytes} bytes on a page");
            found.extend(page.items.iter().map(|summary| summary.handle));
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(found.len(), 30);
        assert!(found.is_sorted());
    }
}

pub(crate) async fn records_come_whole_page_by_page(store: Arc<dyn Store>) {
    let mut expected: Vec<Record> = (0..25).map(record).collect();
    expected.sort_unstable_by_key(|record| record.handle);
    for record in &expected {
        create(&*store, record).await;
    }
    create(&*store, &expiring(99, 1_000)).await;
    for limit in [1, 4, 25, 100] {
        assert_eq!(records(&*store, limit, 1_000).await, expected, "pages of {limit}");
    }
    const EACH: usize = 250_000;
    for n in 100..130 {
        create(&*store, &Record { data: data(&format!("\"{}\"", "x".repeat(EACH))), ..record(n) }).await;
    }
    let page = store.records(None, 1_000, at(0)).await.unwrap();
    assert!(page.items.len() < 50 && page.next.is_some(), "{} large records on a page", page.items.len());
    assert_eq!(records(&*store, 1_000, 1_000).await.len(), 55);
}

pub(crate) async fn outlines_are_of_what_is_stored(store: Arc<dyn Store>) {
    assert_eq!(store.outlines(&[]).await.unwrap(), []);
    let stored = Record { user_id: Some("ada".into()), ..record(1) };
    create(&*store, &stored).await;
    create(&*store, &expiring(2, 1)).await;
    let found = |record: &Record| Outlined::Found(record.outline());
    assert_eq!(
        store.outlines(&[handle(3), handle(2), handle(1), handle(1)]).await.unwrap(),
        [Outlined::Missing, found(&expiring(2, 1)), found(&stored), found(&stored)],
        "live or not, in the order that was asked for"
    );
}
