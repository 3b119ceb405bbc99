//! A collection that holds more than what the store wrote.

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{Bson, Document, RawDocumentBuf, doc, oid::ObjectId};

use super::super::document;
use super::*;
use crate::data::Data;
use crate::id::{Handle, SecretHash};
use crate::record::Record;
use crate::store::{Listing, Store, StoreError};
use crate::time::Timestamp;

const START: Timestamp = Timestamp::from_millis(4_102_444_800_000);

fn record(n: u8) -> Record {
    Record {
        handle: Handle::from([n; 12]),
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
        expires_at: START.after(Duration::from_secs(60)),
        version: 1,
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
    let late = document::date(START.after(Duration::from_secs(1_000)));
    let ours: Vec<_> = [10, 30, 50].map(record).to_vec();
    for record in &ours {
        store.create(Arc::new(record.clone()), START).await.unwrap();
    }
    let wrong = document::from_record(&record(20)).unwrap();
    insert(&documents, with(wrong, "data", Bson::DateTime(late))).await;
    let newer = document::from_record(&record(40)).unwrap();
    insert(&documents, with(newer, "schema", 2_i64)).await;
    for id in [Bson::from("text"), 5.into(), ObjectId::from_bytes([60; 12]).into(), doc! { "a": 1 }.into()] {
        insert(&documents, doc! { "_id": id, "expires_at": late }).await;
    }
    insert(&documents, doc! { "anything": true }).await;

    for (n, field) in [(20, "data"), (40, "schema")] {
        let error = store.load(Handle::from([n; 12]), START).await.unwrap_err();
        let StoreError::Unusable(message) = &error else { panic!("{error:?}") };
        assert!(message.contains(&Handle::from([n; 12]).to_string()) && message.contains(field), "{message}");
    }
    for limit in 1..5 {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = store.list(Listing { user_id: None, after, limit }, START).await.unwrap();
            found.extend(page.records.iter().map(|record| (**record).clone()));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, ours, "pages of {limit}");
    }
    // With the two that only look like ours.
    assert_eq!(store.clear().await.unwrap(), 5);
    assert_eq!(documents.count_documents(doc! {}).await.unwrap(), 5);
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
        "expires_at",
        "version",
        "schema",
    ];
    assert_eq!(fields, expected);
    assert_eq!(found.get_document("data").unwrap().get("a%2Eb"), Some(&Bson::Double(1.0)));
    assert_eq!(found.get_datetime("expires_at").unwrap().timestamp_millis(), START.as_millis() + 60_000);
    store.close().await;
}
