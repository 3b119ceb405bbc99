//! The users' collection: entries that are damaged, claims at once, and the lease of the clean-up.

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{RawDocumentBuf, doc};

use super::super::scalars;
use super::*;
use crate::id::Handle;
use crate::store::{Claim, Claimed, Places, Store, StoreError};

const PERIOD: Duration = Duration::from_secs(3_600);

async fn entries(database: &Database) -> Documents {
    let client = database.documents().await.client().clone();
    client.database(&database.config.database).collection("sessions_users")
}

fn handle(n: u8) -> Handle {
    Handle::from([n; 12])
}

async fn claim(store: &MongoStore, user_id: &str, n: u8, moves_last: bool) -> Claimed {
    let claim = Claim { user_id, handle: handle(n), room: None, moves_last, earlier: Some(&[]) };
    store.claim(claim).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_entry_stops_no_other_and_names_its_user() {
    let Some(database) = Database::new() else { return };
    let store = database.open().await;
    let entries = entries(&database).await;
    for user_id in ["ada", "eve"] {
        claim(&store, user_id, 1, false).await;
    }
    let damaged = [
        doc! { "_id": "bob", "handles": "none" },
        doc! { "_id": "cid", "handles": [scalars::id(handle(1)), "one"] },
        doc! { "_id": "dan" },
        doc! { "_id": "zoe", "handles": 5 },
    ];
    for entry in damaged {
        entries.insert_one(RawDocumentBuf::try_from(&entry).unwrap()).await.unwrap();
    }
    // What a crash left, and what is no entry.
    for entry in [doc! { "_id": "fay", "handles": [] }, doc! { "_id": 5, "handles": "none" }] {
        entries.insert_one(RawDocumentBuf::try_from(&entry).unwrap()).await.unwrap();
    }
    for limit in 1..8 {
        let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = store.all_places(after.as_deref(), limit).await.unwrap();
            found.extend(page.users);
            after = page.next;
            pages += 1;
            assert!(pages < 10);
            if after.is_none() {
                break;
            }
        }
        let places = |user_id: &str| Places { user_id: user_id.into(), handles: vec![handle(1)] };
        assert_eq!(found, [places("ada"), places("eve")], "pages of {limit}");
    }
    assert_eq!(entries.count_documents(doc! { "_id": "fay" }).await.unwrap(), 0);
    let error = store.places("cid").await.unwrap_err();
    assert!(matches!(&error, StoreError::Unusable(message) if message.contains("\"cid\"")), "{error}");
    store.forget_places().await.unwrap();
    assert_eq!(entries.count_documents(doc! {}).await.unwrap(), 1, "what is no entry");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn claims_that_move_at_once_lose_no_place() {
    let Some(database) = Database::new() else { return };
    let store = Arc::new(database.open().await);
    for n in 0..4 {
        claim(&store, "ada", n, false).await;
    }
    let claims: Vec<_> = (0..8_u8)
        .map(|n| {
            let store = Arc::clone(&store);
            // Half of them have a place already.
            tokio::spawn(async move { (n, claim(&store, "ada", n, true).await) })
        })
        .collect();
    for claimed in claims {
        let (n, claimed) = claimed.await.unwrap();
        assert!(
            matches!(&claimed, Claimed::Done(handles) if handles.last() == Some(&handle(n))),
            "{claimed:?}"
        );
    }
    let mut places = store.places("ada").await.unwrap();
    places.sort_unstable();
    assert_eq!(places, (0..8).map(handle).collect::<Vec<_>>());
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgetting_goes_on_past_a_slice_and_leaves_the_lease() {
    let Some(database) = Database::new() else { return };
    let (store, entries) = (database.open().await, entries(&database).await);
    assert!(store.leads_cleanup(PERIOD).await.unwrap());
    let entry = |n| doc! { "_id": format!("user-{n}"), "handles": [scalars::id(handle(1))] };
    let many: Vec<_> = (0..2_500).map(|n| RawDocumentBuf::try_from(&entry(n)).unwrap()).collect();
    entries.insert_many(&many).await.unwrap();
    store.forget_places().await.unwrap();
    assert_eq!(entries.count_documents(doc! {}).await.unwrap(), 1);
    assert!(store.leads_cleanup(PERIOD).await.unwrap());
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_leads_the_clean_up_until_it_asks_no_more() {
    let Some(database) = Database::new() else { return };
    let (one, other) = (database.open().await, database.open().await);
    assert!(one.leads_cleanup(PERIOD).await.unwrap());
    for _ in 0..3 {
        assert!(!other.leads_cleanup(PERIOD).await.unwrap());
        assert!(one.leads_cleanup(PERIOD).await.unwrap(), "whoever has it keeps it");
    }
    // However short the period: what counts is that the leader asked since.
    for _ in 0..3 {
        assert!(one.leads_cleanup(PERIOD).await.unwrap());
        assert!(!other.leads_cleanup(Duration::ZERO).await.unwrap());
    }
    // Now it asks no more.
    assert!(!other.leads_cleanup(PERIOD).await.unwrap(), "the period is not over");
    assert!(other.leads_cleanup(Duration::ZERO).await.unwrap());
    assert!(!one.leads_cleanup(PERIOD).await.unwrap());
    assert!(other.leads_cleanup(PERIOD).await.unwrap());
    one.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_nodes_that_ask_at_once_one_leads() {
    let Some(database) = Database::new() else { return };
    let mut asking = Vec::new();
    for _ in 0..6 {
        let store = Arc::new(database.open().await);
        asking.push(tokio::spawn(async move {
            let leads = store.leads_cleanup(PERIOD).await.unwrap();
            store.close().await;
            leads
        }));
    }
    let mut leaders = 0;
    for asked in asking {
        leaders += u32::from(asked.await.unwrap());
    }
    assert_eq!(leaders, 1);
}
