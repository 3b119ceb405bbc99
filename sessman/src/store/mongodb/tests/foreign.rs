//! A collection that holds more than what the store wrote.

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{Bson, Document, RawDocumentBuf, doc, oid::ObjectId};

use super::super::{document, scalars};
use super::*;
use crate::data::Data;
use crate::id::{Handle, SecretHash};
use crate::labels::{Label, Labels};
use crate::mark::Mark;
use crate::record::{Change, Mac, Record, Times, TtlSource};
use crate::store::{Listing, Outlined, Store, StoreError, Target, Unless, Updated};
use crate::time::Timestamp;

const START: Timestamp = Timestamp::from_millis(4_102_444_800_000);

fn record(n: u8) -> Record {
    Record {
        handle: Handle::from([n; 12]),
        mark: Mark::from([n; 8]),
        secret_hash: SecretHash::from([n; 32]),
        user_id: None,
        auth_time: None,
        data: Data::empty(),
        metadata: Data::empty(),
        created_at: START,
        updated_at: START,
        reset_at: START,
        last_activity: START,
        ttl: Duration::from_secs(60),
        ttl_source: TtlSource::Configured,
        idle: None,
        persistent: false,
        labels: Labels::none(),
        expires_at: START.after(Duration::from_secs(60)),
        version: 1,
        mac: None,
    }
}

async fn insert(documents: &Documents, document: Document) {
    documents.insert_one(RawDocumentBuf::try_from(&document).unwrap()).await.unwrap();
}

fn with(mut document: Document, field: &str, value: impl Into<Bson>) -> Document {
    document.insert(field, value);
    document
}

#[tokio::test]
async fn documents_of_others_stop_nothing() {
    let Some(database) = Database::new() else { return };
    let (store, documents) = (database.open().await, database.documents().await);
    let late = scalars::date(START.after(Duration::from_secs(1_000)));
    let ours: Vec<_> = [10, 30, 50].map(record).to_vec();
    for record in &ours {
        store.create(Arc::new(record.clone()), START).await.unwrap();
    }
    let wrong = document::from_record(&record(20)).unwrap();
    insert(&documents, with(wrong, "data", Bson::DateTime(late))).await;
    let newer = document::from_record(&record(40)).unwrap();
    insert(&documents, with(newer, "schema", 3_i64)).await;
    let timeless = document::from_record(&record(45)).unwrap();
    insert(&documents, with(timeless, "expires_at", "soon")).await;
    for id in [Bson::from("text"), 5.into(), ObjectId::from_bytes([60; 12]).into(), doc! { "a": 1 }.into()] {
        insert(&documents, doc! { "_id": id, "expires_at": late }).await;
    }
    insert(&documents, doc! { "anything": true }).await;

    let handle = |n: u8| Handle::from([n; 12]);
    for (n, field) in [(20, "data"), (40, "schema"), (45, "expires_at")] {
        let error = store.load(Handle::from([n; 12]), START).await.unwrap_err();
        let StoreError::Unusable(message) = &error else { panic!("{error:?}") };
        assert!(message.contains(&Handle::from([n; 12]).to_string()) && message.contains(field), "{message}");
    }
    let ours_in_lists: Vec<_> = ours.iter().map(Record::summary).collect();
    for limit in 1..8 {
        let (mut found, mut unread, mut after) = (Vec::new(), Vec::new(), None);
        loop {
            let page = store.records(after, limit, START).await.unwrap();
            assert!(page.items.len() + page.unread.len() <= limit);
            found.extend(page.items.iter().map(|record| (**record).clone()));
            unread.extend(page.unread);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, ours, "pages of {limit}");
        assert_eq!(unread, [20, 40, 45].map(handle), "pages of {limit}");
        let (mut found, mut unread, mut after) = (Vec::new(), Vec::new(), None);
        loop {
            let page = store.list(Listing { user_id: None, after, limit, label: None }, START).await.unwrap();
            found.extend(page.items);
            unread.extend(page.unread);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        // What a list does not show it does not read.
        let mut expected = ours_in_lists.clone();
        expected.insert(1, record(20).summary());
        assert_eq!(found, expected, "pages of {limit}");
        assert_eq!(unread, [40, 45].map(handle), "pages of {limit}");
    }
    // With the three that only look like ours.
    assert_eq!(store.clear().await.unwrap(), 6);
    assert_eq!(documents.count_documents(doc! {}).await.unwrap(), 5);
    store.close().await;
}

#[tokio::test]
async fn a_session_that_cannot_be_read_is_named_and_ended_with_the_others() {
    let Some(database) = Database::new() else { return };
    let (store, documents) = (database.open().await, database.documents().await);
    let of_ada = |n: u8| Record { user_id: Some("ada".into()), ..record(n) };
    for n in [1, 2] {
        store.create(Arc::new(of_ada(n)), START).await.unwrap();
    }
    let newer = document::from_record(&of_ada(3)).unwrap();
    insert(&documents, with(newer, "schema", 3_i64)).await;
    let handles = [1, 2, 3, 4].map(|n| Handle::from([n; 12]));
    let page = store
        .list(Listing { user_id: Some("ada"), after: None, limit: 10, label: None }, START)
        .await
        .unwrap();
    assert_eq!((page.items.len(), &page.unread[..]), (2, &handles[2..3]));
    let outlines = store.outlines(&handles).await.unwrap();
    assert_eq!(outlines[2..], [Outlined::Unreadable, Outlined::Missing]);
    let targets = handles.map(Target::whatever);
    assert_eq!(store.delete(&targets).await.unwrap(), handles[..3]);
    assert_eq!(documents.count_documents(doc! {}).await.unwrap(), 0);
    store.close().await;
}

#[tokio::test]
async fn a_session_of_the_version_before_has_the_mark_of_its_beginning() {
    let Some(database) = Database::new() else { return };
    let (store, documents) = (database.open().await, database.documents().await);
    let mut written = document::from_record(&record(1)).unwrap();
    for later in ["mark", "ttl_source"] {
        written.remove(later);
    }
    insert(&documents, written.clone()).await;
    let read = store.load(Handle::from([1; 12]), START).await.unwrap().live().unwrap();
    let mark = Mark::of_layout_1(START);
    assert_eq!(*read, Record { mark, ttl_source: TtlSource::Unknown, ..record(1) });
    // It begins again under the same handle, a millisecond later.
    let next = with(written.clone(), "created_at", scalars::date(START.after(Duration::from_millis(1))));
    documents.delete_one(doc! { "_id": scalars::id(read.handle) }).await.unwrap();
    insert(&documents, next).await;
    let times = Times { reset_at: START, last_activity: START, expires_at: read.expires_at };
    let touch = Change::touch(START, times);
    assert_eq!(store.update(&read, Unless::Gone, &touch).await.unwrap(), Updated::Missing);
    assert_eq!(store.delete(&[Target::incarnation(read.handle, mark)]).await.unwrap(), []);
    let read = store.load(read.handle, START).await.unwrap().live().unwrap();
    let updated = store.update(&read, Unless::Changed, &touch).await.unwrap();
    assert!(matches!(updated, Updated::Done { .. }), "{updated:?}");
    let target = Target::incarnation(read.handle, read.mark);
    assert_eq!(store.delete(&[target]).await.unwrap(), [read.handle]);
    store.close().await;
}

#[tokio::test]
async fn an_update_answers_what_it_wrote() {
    let Some(database) = Database::new() else { return };
    let store = database.open().await;
    let first = Record { user_id: Some("ada".into()), ..record(1) };
    store.create(Arc::new(first.clone()), START).await.unwrap();
    // Clocks give no whole seconds.
    let at = |millis| START.after(Duration::from_millis(millis));
    let times = Times { reset_at: at(1_001), last_activity: at(1_337), expires_at: at(61_001) };
    let all = Change {
        secret_hash: Some(SecretHash::from([9; 32])),
        user_id: Some("bob".into()),
        data: Some(Data::parse(r#"{"z":1.0,"a.b":[1,null]}"#).unwrap()),
        metadata: Some(Data::parse(r#"{"client_ip":"::1"}"#).unwrap()),
        mac: Some(Mac([7; 32])),
        ..Change::touch(at(1_337), times)
    };
    let mut stored = first;
    for change in [Change::touch(at(1_336), times), all, Change::touch(at(1_338), times)] {
        let updated = store.update(&stored, Unless::Written, &change).await.unwrap();
        let Updated::Done { record, lived_until } = updated else { panic!("{updated:?}") };
        assert_eq!(lived_until, stored.expires_at);
        assert_eq!(store.load(record.handle, START).await.unwrap().live(), Some(Arc::clone(&record)));
        stored = (*record).clone();
    }
    assert_eq!((stored.version, stored.mac), (2, Some(Mac([7; 32]))));
    store.close().await;
}

#[tokio::test]
async fn clearing_goes_on_past_a_slice() {
    let Some(database) = Database::new() else { return };
    let (store, documents) = (database.open().await, database.documents().await);
    let many: Vec<_> = (0_u32..2_500)
        .map(|n| {
            let mut bytes = [0xFF; 12];
            bytes[..4].copy_from_slice(&n.wrapping_mul(0x9E37_79B1).to_be_bytes());
            let record = Record { handle: Handle::from(bytes), ..record(1) };
            RawDocumentBuf::try_from(&document::from_record(&record).unwrap()).unwrap()
        })
        .collect();
    documents.insert_many(&many).await.unwrap();
    assert_eq!(store.clear().await.unwrap(), 2_500);
    assert_eq!(documents.count_documents(doc! {}).await.unwrap(), 0);
    store.close().await;
}

#[tokio::test]
async fn what_is_stored_can_be_read_in_a_shell() {
    let Some(database) = Database::new() else { return };
    let (store, documents) = (database.open().await, database.documents().await);
    let data = Data::parse(r#"{"cart":[{"sku":"a.1","n":2}],"a.b":1.0}"#).unwrap();
    let stored = Record { data, user_id: Some("ada".into()), ..record(7) };
    store.create(Arc::new(stored), START).await.unwrap();
    let found = documents.find_one(doc! { "data.cart.sku": "a.1", "user_id": "ada" }).await.unwrap().unwrap();
    let found = Document::try_from(found.as_ref()).unwrap();
    let fields: Vec<_> = found.keys().map(String::as_str).collect();
    let expected = [
        "_id",
        "mark",
        "secret_hash",
        "user_id",
        "auth_time",
        "data",
        "metadata",
        "created_at",
        "updated_at",
        "reset_at",
        "last_activity",
        "ttl",
        "ttl_source",
        "expires_at",
        "version",
        "schema",
    ];
    assert_eq!(fields, expected);
    assert_eq!(found.get_document("data").unwrap().get("a%2Eb"), Some(&Bson::Double(1.0)));
    assert_eq!(found.get_datetime("expires_at").unwrap().timestamp_millis(), START.as_millis() + 60_000);
    store.close().await;
}

#[tokio::test]
async fn a_document_with_fields_of_others_keeps_its_layout_whatever_it_gets() {
    let Some(database) = Database::new() else { return };
    let (store, documents) = (database.open().await, database.documents().await);
    let labels = Labels::from_list(vec![Label::new("tenant", "acme").unwrap()]).unwrap();
    for (n, is_foreign) in [(1, true), (2, false)] {
        let stored = document::from_record(&record(n)).unwrap();
        insert(&documents, if is_foreign { with(stored, "theirs", 1) } else { stored }).await;
        let Record { reset_at, last_activity, expires_at, .. } = record(n);
        let change = Change {
            labels: Some(labels.clone()),
            ..Change::touch(START, Times { reset_at, last_activity, expires_at })
        };
        let updated = store.update(&record(n), Unless::Changed, &change).await.unwrap();
        assert!(matches!(updated, Updated::Done { .. }));
        let read = store.load(record(n).handle, START).await.unwrap().live().expect("it can be read");
        assert_eq!(read.labels, labels);
        let found = documents.find_one(doc! { "_id": scalars::id(read.handle) }).await.unwrap().unwrap();
        assert_eq!(found.get_i64("schema").unwrap(), if is_foreign { 1 } else { 2 });
    }
    store.close().await;
}
