//! Reads of many records: by which index, how much of it, and how large the answers are.

use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};

use super::super::{counts, document};
use super::proxy::{Proxy, first, name};
use super::*;
use crate::data::Data;
use crate::id::Handle;
use crate::record::Record;
use crate::store::conformance::away;
use crate::store::{Counts, Listing, Store, Target};
use crate::time::Timestamp;

fn record(n: u32) -> Record {
    let mut bytes = [0xFF; 12];
    bytes[..4].copy_from_slice(&n.wrapping_mul(0x9E37_79B1).to_be_bytes());
    Record { handle: Handle::from(bytes), ..(*away::record(1)).clone() }
}

fn now() -> Timestamp {
    record(0).created_at
}

async fn insert(database: &Database, records: impl IntoIterator<Item = Record>) {
    let raw = |record: Record| RawDocumentBuf::try_from(&document::from_record(&record).unwrap()).unwrap();
    let many: Vec<_> = records.into_iter().map(raw).collect();
    database.documents().await.insert_many(&many).await.unwrap();
}

fn listing(user_id: Option<&str>) -> Listing<'_> {
    Listing { user_id, after: None, limit: 50, label: None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_list_names_the_index_that_has_its_order() {
    let Some(database) = Database::new() else { return };
    database.make_indexes().await.unwrap();
    insert(&database, (0..20).map(record)).await;
    let proxy = Proxy::before(&database, |_| None).await;
    let store = proxy.store();
    store.list(listing(None), now()).await.unwrap();
    store.list(listing(Some("ada")), now()).await.unwrap();
    store.records(None, 5, now()).await.unwrap();
    let label = crate::labels::Label::new("tenant", "acme").unwrap();
    store.list(Listing { label: Some(&label), ..listing(None) }, now()).await.unwrap();
    let asked = proxy.asked();
    let hints: Vec<_> = asked.iter().map(|command| command.get_document("hint").unwrap().clone()).collect();
    let (all, of_user, of_label) =
        (doc! { "_id": 1 }, doc! { "user_id": 1, "_id": 1 }, doc! { "labels": 1, "_id": 1 });
    assert_eq!(hints, [all.clone(), of_user, all, of_label]);
    for command in &asked {
        assert_eq!(command.get_document("sort").unwrap(), &doc! { "_id": 1 });
        assert!(command.get_i64("limit").unwrap() <= 51 && command.contains_key("maxTimeMS"));
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_works_while_its_index_is_not_there() {
    let Some(database) = Database::new() else { return };
    insert(&database, (0..5).map(record)).await;
    let refuses = |command: &Document| {
        let is_user = command.get_document("hint").is_ok_and(|hint| hint.contains_key("user_id"));
        is_user.then(|| doc! { "ok": 0.0, "code": 2, "codeName": "BadValue", "errmsg": "hint provided" })
    };
    let proxy = Proxy::before(&database, refuses).await;
    let store = proxy.store();
    let asked = |proxy: &Proxy| -> Vec<bool> {
        proxy.asked().iter().map(|command| command.contains_key("hint")).collect()
    };
    assert_eq!(store.list(listing(Some("ada")), now()).await.unwrap().items.len(), 5);
    assert_eq!(asked(&proxy), [true, false]);
    assert_eq!(store.list(listing(Some("ada")), now()).await.unwrap().items.len(), 5);
    assert_eq!(asked(&proxy), [false]);
    store.close().await;
    // Once it is made, it is named again.
    let connection = proxy.connection();
    connection.hints().set_taken(indexes::USER_HANDLES, false);
    assert_eq!(indexes::try_to_make(&connection).await.unwrap(), []);
    assert!(connection.hints().are_taken(indexes::USER_HANDLES));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_shown_is_not_read() {
    const EACH: usize = 100_000;
    let Some(database) = Database::new() else { return };
    let data = Data::parse(&format!("\"{}\"", "x".repeat(EACH))).unwrap();
    insert(&database, (0..40).map(|n| Record { data: data.clone(), ..record(n) })).await;
    let proxy = Proxy::before(&database, |_| None).await;
    let store = proxy.store();
    let handles: Vec<_> = (0..40).map(|n| record(n).handle).collect();
    for user_id in [None, Some("ada")] {
        let page = store.list(listing(user_id), now()).await.unwrap();
        assert_eq!((page.items.len(), page.next), (40, None));
    }
    store.outlines(&handles).await.unwrap();
    store.counts(now(), &[now()]).await.unwrap();
    let targets: Vec<_> = handles.iter().copied().map(Target::whatever).collect();
    assert_eq!(store.delete(&targets).await.unwrap().len(), 40);
    let received = proxy.received();
    assert!(received < EACH as u64, "{received} bytes");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_large_records_is_read_in_small_slices() {
    const EACH: usize = 500_000;
    let Some(database) = Database::new() else { return };
    let data = Data::parse(&format!("\"{}\"", "x".repeat(EACH))).unwrap();
    for n in 0..14 {
        insert(&database, [Record { data: data.clone(), ..record(n) }]).await;
    }
    let proxy = Proxy::before(&database, |_| None).await;
    let store = proxy.store();
    let page = store.records(None, 1_000, now()).await.unwrap();
    assert!(page.next.is_some());
    let received = proxy.received() as usize;
    let most = crate::store::PAGE_BYTES + 3 * EACH;
    assert!(received < most, "{received} bytes for a page of {}", page.items.len());
    store.close().await;
}

/// Of every ten records four are past their time, and of the six that live one began a second later.
fn mixed(n: u32) -> Record {
    let record = record(n);
    match n % 10 {
        0..4 => Record { expires_at: Timestamp::from_millis(now().as_millis() - 1), ..record },
        4 => Record { created_at: Timestamp::from_millis(now().as_millis() + 1_000), ..record },
        _ => record,
    }
}

fn is_about(found: u64, expected: u64, slack: u64) -> bool {
    found.abs_diff(expected) <= slack
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_sessions_are_estimated_and_few_are_counted() {
    let Some(database) = Database::new() else { return };
    database.make_indexes().await.unwrap();
    insert(&database, (0..5_000).map(mixed)).await;
    let proxy = Proxy::before(&database, |_| None).await;
    let documents = proxy.connection().documents().await.unwrap();
    let since = [now(), Timestamp::from_millis(now().as_millis() + 1_000)];
    let counts = counts::of(&documents, now(), &since, counts::COUNTED).await.unwrap();
    assert_eq!(counts, Counts { active: 3_000, expired: 2_000, since: vec![3_000, 500] });
    proxy.asked();

    for most in [100, 2_500] {
        let Counts { active, expired, since } = counts::of(&documents, now(), &since, most).await.unwrap();
        // A thousand of five are looked at: chance may be off by some hundredths.
        assert!(is_about(active, 3_000, 300) && is_about(expired, 2_000, 300), "{active} {expired}");
        assert_eq!(since[0], active);
        assert!(is_about(since[1], 500, 250), "{since:?}");
        // Whatever is stored, the server looks at no more than was said.
        for command in proxy.asked() {
            match name(&command) {
                "aggregate" => {
                    let stages = command.get_array("pipeline").unwrap();
                    let bound = doc! { "$limit": i64::try_from(most + 1).unwrap() };
                    assert!(stages.contains(&bound.into()), "{stages:?}");
                }
                "find" => assert!(command.get_i64("limit").unwrap() <= 1_000),
                other => assert_eq!(other, "count"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_that_take_the_server_too_long_are_estimated() {
    let Some(database) = Database::new() else { return };
    insert(&database, (0..2_000).map(mixed)).await;
    let late = doc! { "ok": 0.0, "code": 50, "codeName": "MaxTimeMSExpired", "errmsg": "late" };
    let proxy = Proxy::before(&database, first(usize::MAX, "aggregate", late)).await;
    let store = proxy.store();
    let Counts { active, expired, .. } = store.counts(now(), &[]).await.unwrap();
    assert!(is_about(active, 1_200, 200) && active + expired == 2_000, "{active} {expired}");
    store.close().await;
}

/// The names of the stages of a plan, the outermost first.
fn stages(plan: &Bson, into: &mut Vec<String>) {
    match plan {
        Bson::Document(plan) => {
            into.extend(plan.get_str("stage").ok().map(str::to_owned));
            plan.values().for_each(|value| stages(value, into));
        }
        Bson::Array(items) => items.iter().for_each(|item| stages(item, into)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_server_sorts_no_list_and_walks_no_collection() {
    let Some(database) = Database::real("the stand-in has no plans") else { return };
    database.make_indexes().await.unwrap();
    insert(&database, (0..2_000).map(mixed)).await;
    let proxy = Proxy::before(&database, |_| None).await;
    let store = proxy.store();
    store.list(listing(None), now()).await.unwrap();
    store.list(listing(Some("ada")), now()).await.unwrap();
    store.records(None, 50, now()).await.unwrap();
    store.counts(now(), &[]).await.unwrap();
    store.outlines(&[record(1).handle, record(2).handle]).await.unwrap();
    store.close().await;
    let server = database.documents().await.client().database(&database.config.database);
    for mut command in proxy.asked() {
        for field in ["$db", "lsid", "$clusterTime", "$readPreference", "maxTimeMS", "apiVersion"] {
            command.remove(field);
        }
        let explained = server.run_command(doc! { "explain": command.clone() }).await.unwrap();
        let mut found = Vec::new();
        stages(&explained.into(), &mut found);
        assert!(!found.is_empty(), "{command}");
        assert!(!found.iter().any(|stage| stage == "SORT" || stage == "COLLSCAN"), "{command}: {found:?}");
    }
}
