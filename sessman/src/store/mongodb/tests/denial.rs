//! A server that says that nothing matched although the document is there, or that refuses some commands and not others.

use std::sync::Arc;
use std::time::Instant;

use mongodb::bson::{Bson, Document, doc};

use super::super::connection::CALL_LIMIT;
use super::proxy::{Proxy, first, name};
use super::*;
use crate::data::Data;
use crate::id::{Handle, SecretHash};
use crate::record::{Change, Record, Times};
use crate::store::conformance::away::record;
use crate::store::{Claim, Claimed, Created, Listing, Store, StoreError, Target, Unless, Updated};
use crate::time::Timestamp;

const ALWAYS: usize = usize::MAX;

fn nothing_deleted() -> Document {
    doc! { "n": 0, "ok": 1.0 }
}

fn nothing_modified() -> Document {
    doc! { "value": Bson::Null, "lastErrorObject": { "n": 0, "updatedExisting": false }, "ok": 1.0 }
}

fn refused(code: i32, name: &str) -> Document {
    doc! { "ok": 0.0, "code": code, "codeName": name, "errmsg": "hidden" }
}

fn write(record: &Record) -> Change {
    let now = record.created_at;
    let times = Times { reset_at: now, last_activity: now, expires_at: record.expires_at };
    Change { data: Some(Data::parse("[1]").unwrap()), ..Change::touch(now, times) }
}

/// A database with the records `numbers` in it, and a door before it.
async fn stored(
    numbers: &[u8],
    answer: impl Fn(&Document) -> Option<Document> + Send + Sync + 'static,
) -> Option<(Database, Proxy, Vec<Arc<Record>>)> {
    let database = Database::new()?;
    let store = database.open().await;
    let records: Vec<_> = numbers.iter().map(|n| record(*n)).collect();
    for record in &records {
        assert_eq!(store.create(Arc::clone(record), record.created_at).await.unwrap(), Created::Yes);
    }
    store.close().await;
    let proxy = Proxy::before(&database, answer).await;
    Some((database, proxy, records))
}

async fn count(database: &Database) -> u64 {
    database.documents().await.count_documents(doc! {}).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_whose_server_says_that_nothing_matched_is_made_again() {
    for denials in 1..4 {
        let denied = first(denials, "delete", nothing_deleted());
        let Some((database, proxy, records)) = stored(&[1], denied).await else { return };
        let store = proxy.store();
        let target =
            Target { secret_hash: Some(records[0].secret_hash), ..Target::whatever(records[0].handle) };
        assert_eq!(store.delete(&[target]).await.unwrap(), [target.handle], "{denials}");
        assert_eq!(count(&database).await, 0, "{denials}");
        let asked = proxy.asked();
        let names: Vec<_> = asked.iter().map(name).collect();
        assert_eq!(names[..3], ["delete", "find", "delete"]);
        let of = |command: &Document, field: &str| {
            command.get_array("deletes").unwrap()[0].as_document().unwrap().get(field).cloned()
        };
        // One of one first, which is repeated where its connection breaks; then with the same filter, which is never denied.
        assert_eq!(of(&asked[0], "q"), of(&asked[2], "q"));
        let limits = [of(&asked[0], "limit"), of(&asked[2], "limit")];
        assert_eq!(limits, [Some(Bson::Int32(1)), Some(Bson::Int32(0))]);
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_denies_to_the_end_is_not_said_to_be_gone() {
    let denied = |command: &Document| match name(command) {
        "delete" => Some(nothing_deleted()),
        "findAndModify" => Some(nothing_modified()),
        _ => None,
    };
    let Some((database, proxy, records)) = stored(&[1, 2], denied).await else { return };
    let store = proxy.store();
    let targets = [1, 2].map(|n| Target::whatever(Handle::from([n; 12])));
    async fn in_time<T: std::fmt::Debug>(call: impl Future<Output = crate::store::Result<T>>) {
        let started = Instant::now();
        let error = call.await.unwrap_err();
        assert!(started.elapsed() < CALL_LIMIT, "the reason came too late");
        let StoreError::Unavailable(reason) = &error else { panic!("{error:?}") };
        assert!(reason.to_string().contains("nothing matches a document that is there"), "{reason}");
    }
    let change = write(&records[0]);
    tokio::join!(
        in_time(store.delete(&targets[..1])),
        in_time(store.delete(&targets)),
        in_time(store.update(&records[0], Unless::Gone, &change)),
        in_time(store.update(&records[1], Unless::Changed, &change)),
    );
    assert_eq!(count(&database).await, 2);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletes_of_many_are_made_again_for_those_that_are_there() {
    let Some((database, proxy, records)) = stored(&[1, 2, 3], first(2, "delete", nothing_deleted())).await
    else {
        return;
    };
    let store = proxy.store();
    let mut targets: Vec<_> =
        records.iter().map(|record| Target::incarnation(record.handle, record.mark)).collect();
    targets.push(Target::whatever(Handle::from([9; 12])));
    targets[1].last_activity = Some(Timestamp::from_millis(1));
    let expected = [records[0].handle, records[2].handle];
    assert_eq!(store.delete(&targets).await.unwrap(), expected);
    assert_eq!(count(&database).await, 1);
    assert_eq!(proxy.names()[..2], ["find", "delete"]);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_whose_server_says_that_nothing_matched_is_made_once() {
    for (denials, unless) in [(1, Unless::Gone), (2, Unless::Changed), (3, Unless::Written)] {
        let denied = first(denials, "findAndModify", nothing_modified());
        let Some((_database, proxy, records)) = stored(&[1], denied).await else { return };
        let store = proxy.store();
        let change = write(&records[0]);
        let expected = Updated::Done {
            record: Arc::new(change.applied_to(&records[0])),
            lived_until: records[0].expires_at,
        };
        assert_eq!(store.update(&records[0], unless, &change).await.unwrap(), expected, "{unless:?}");
        let loaded = store.load(records[0].handle, records[0].created_at).await.unwrap().live().unwrap();
        assert_eq!(loaded.version, 2);
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_costs_one_command_and_a_look_where_nothing_matched() {
    let Some((_database, proxy, records)) = stored(&[1], |_| None).await else { return };
    let store = proxy.store();
    let (read, change) = (&*records[0], write(&records[0]));
    let target = Target::incarnation(read.handle, read.mark);
    let stranger = Record { secret_hash: SecretHash::from([99; 32]), ..read.clone() };

    store.load(read.handle, read.created_at).await.unwrap();
    assert_eq!(proxy.names(), ["find"]);
    assert!(matches!(store.update(read, Unless::Changed, &change).await.unwrap(), Updated::Done { .. }));
    assert_eq!(proxy.names(), ["findAndModify"]);
    assert_eq!(store.update(read, Unless::Changed, &change).await.unwrap(), Updated::Conflict(2));
    assert_eq!(proxy.names(), ["findAndModify", "find"]);
    assert_eq!(store.update(&stranger, Unless::Gone, &change).await.unwrap(), Updated::Missing);
    assert_eq!(proxy.names(), ["findAndModify", "find"]);
    assert_eq!(store.delete(&[target]).await.unwrap(), [read.handle]);
    assert_eq!(proxy.names(), ["delete"]);
    assert_eq!(store.delete(&[target]).await.unwrap(), []);
    assert_eq!(proxy.names(), ["delete", "find"]);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_record_that_the_server_denies_is_replaced() {
    let denied = first(2, "update", doc! { "n": 0, "nModified": 0, "ok": 1.0 });
    let Some((database, proxy, records)) = stored(&[1], denied).await else { return };
    let store = proxy.store();
    let later = records[0].expires_at;
    let next = Record { created_at: later, expires_at: later.after(records[0].ttl), ..(*records[0]).clone() };
    assert_eq!(store.create(Arc::new(next.clone()), later).await.unwrap(), Created::Yes);
    assert_eq!(store.load(next.handle, later).await.unwrap().live(), Some(Arc::new(next)));
    assert_eq!(count(&database).await, 1);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_are_taken_and_given_back_although_the_server_denies_them() {
    let Some((database, proxy, _)) = stored(&[], first(8, "findAndModify", nothing_modified())).await else {
        return;
    };
    let (store, straight) = (proxy.store(), database.open().await);
    let handles = [1, 2, 3].map(|n| Handle::from([n; 12]));
    let claim = |n: usize, moves_last, earlier| Claim {
        user_id: "ada",
        handle: handles[n],
        room: Some(3),
        moves_last,
        earlier,
    };
    for n in [0, 1] {
        straight.claim(claim(n, false, Some(&[]))).await.unwrap();
    }
    let done = |order: [usize; 3]| Claimed::Done(order.map(|n| handles[n]).to_vec());
    assert_eq!(store.claim(claim(2, false, None)).await.unwrap(), done([0, 1, 2]));
    assert_eq!(proxy.names().len(), 17, "eight that were denied and their looks");
    let _ = straight.places("ada").await.unwrap();
    store.close().await;

    let proxy = Proxy::before(&database, first(2, "findAndModify", nothing_modified())).await;
    let store = proxy.store();
    assert_eq!(store.claim(claim(0, true, None)).await.unwrap(), done([1, 2, 0]));
    store.close().await;

    let proxy = Proxy::before(&database, first(2, "findAndModify", nothing_modified())).await;
    let store = proxy.store();
    store.release("ada", &handles[..2]).await.unwrap();
    assert_eq!(straight.places("ada").await.unwrap(), handles[2..]);
    store.close().await;
    straight.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ping_fails_where_sessions_cannot_be_created_changed_or_deleted() {
    let cases = [
        ("insert", 8_000, "AtlasError"),
        ("insert", 13, "Unauthorized"),
        ("findAndModify", 13, "Unauthorized"),
        ("delete", 13, "Unauthorized"),
    ];
    for (command, code, code_name) in cases {
        let answer = first(ALWAYS, command, refused(code, code_name));
        let Some((_database, proxy, _)) = stored(&[], answer).await else { return };
        let store = proxy.store();
        for _ in 0..2 {
            let error = store.ping().await.unwrap_err();
            let StoreError::Unavailable(reason) = &error else { panic!("{error:?}") };
            assert!(reason.to_string().contains(&code.to_string()), "{command}: {reason}");
            assert!(!format!("{error:?}").contains("hidden"), "{error:?}");
        }
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_ping_writes_is_no_session() {
    // The delete never comes to the server, so that the document stays.
    let denied = first(ALWAYS, "delete", doc! { "n": 1, "ok": 1.0 });
    let Some((database, proxy, records)) = stored(&[1], denied).await else { return };
    let (store, straight) = (proxy.store(), database.open().await);
    for _ in 0..3 {
        store.ping().await.unwrap();
    }
    assert_eq!(proxy.names().len(), 9);
    assert_eq!(count(&database).await, 2, "one for each node, however often it asks");
    let now = records[0].created_at;
    let page =
        straight.list(Listing { user_id: None, after: None, limit: 10, label: None }, now).await.unwrap();
    assert_eq!((page.items.len(), page.unread.len()), (1, 0));
    assert_eq!(straight.counts(now, &[]).await.unwrap().active, 1);
    assert_eq!(straight.purge_expired(now, 10).await.unwrap(), []);
    assert_eq!(count(&database).await, 1, "it is past its time");
    straight.ping().await.unwrap();
    assert_eq!(count(&database).await, 1);
    store.close().await;
    straight.close().await;
}
