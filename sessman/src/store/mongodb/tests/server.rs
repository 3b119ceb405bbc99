//! What the server does of its own: indexes, and what only a real one shows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mongodb::IndexModel;
use mongodb::bson::doc;
use mongodb::options::IndexOptions;

use super::*;
use crate::data::Data;
use crate::id::{Handle, SecretHash};
use crate::labels::Labels;
use crate::mark::Mark;
use crate::record::{Change, Record, Times, TtlSource};
use crate::store::{Created, Store, StoreError, Target, Unless, Updated};
use crate::time::Timestamp;

pub(super) async fn index_names(documents: &Documents) -> Vec<String> {
    let mut names = Vec::new();
    let Ok(mut cursor) = documents.list_indexes().await else { return names };
    while cursor.advance().await.unwrap() {
        names.push(cursor.current().get_str("name").unwrap().to_owned());
    }
    names.sort();
    names
}

async fn put_in_the_way(database: &Database, name: &str, seconds: Option<u64>) {
    let mut options = IndexOptions::default();
    options.name = Some(name.into());
    options.expire_after = seconds.map(Duration::from_secs);
    let index = IndexModel::builder().keys(doc! { "expires_at": 1 }).options(options).build();
    database.documents().await.create_index(index).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_nodes_make_the_same_indexes_at_once() {
    let Some(database) = Database::new() else { return };
    let (a, b, c, d) = tokio::join!(
        database.make_indexes(),
        database.make_indexes(),
        database.make_indexes(),
        database.make_indexes()
    );
    for made in [a, b, c, d, database.make_indexes().await] {
        assert_eq!(made.unwrap(), []);
    }
    assert_eq!(
        index_names(&database.documents().await).await,
        ["_id_", "label_handles", "session_ttl", "user_handles", "user_sessions"]
    );
}

#[tokio::test]
async fn an_index_in_the_way_is_reported_and_left_alone() {
    let Some(database) = Database::new() else { return };
    put_in_the_way(&database, "theirs", Some(3_600)).await;
    let obstacles = database.make_indexes().await.unwrap();
    let [obstacle] = &obstacles[..] else { panic!("{obstacles:?}") };
    assert_eq!(obstacle.wanted, "session_ttl");
    assert!(
        obstacle.found.starts_with("theirs on ") && obstacle.found.contains("3600"),
        "{}",
        obstacle.found
    );
    assert!(obstacle.mend.contains("collMod") && obstacle.mend.contains(&database.config.database));
    // The other one was made all the same.
    assert_eq!(
        index_names(&database.documents().await).await,
        ["_id_", "label_handles", "theirs", "user_handles", "user_sessions"]
    );
}

#[tokio::test]
async fn a_real_server_refuses_a_conflicting_index_and_takes_the_mending_command() {
    let Some(database) = Database::real("the stand-in accepts conflicting indexes and has no collMod") else {
        return;
    };
    put_in_the_way(&database, "session_ttl", Some(1)).await;
    let obstacles = database.make_indexes().await.unwrap();
    assert_eq!(obstacles.len(), 1, "{obstacles:?}");
    let mend = doc! {
        "collMod": "sessions",
        "index": { "keyPattern": { "expires_at": 1 }, "expireAfterSeconds": 60 },
    };
    database.documents().await.client().database(&database.config.database).run_command(mend).await.unwrap();
    assert_eq!(database.make_indexes().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_server_removes_what_expired() {
    let Some(database) = Database::real("the stand-in keeps a TTL index but expires nothing by it") else {
        return;
    };
    let store = database.open().await;
    let now = Timestamp::from_millis(mongodb::bson::DateTime::now().timestamp_millis());
    // Past the 60 s that the index adds.
    let past = Timestamp::from_millis(now.as_millis() - 120_000);
    let record = record(past);
    store.create(Arc::new(record), past).await.unwrap();
    // The server looks once a minute.
    let started = Instant::now();
    while store.counts(now, &[]).await.unwrap().expired > 0 {
        assert!(started.elapsed() < Duration::from_secs(150), "the server removed nothing");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_replica_set_makes_a_write_once_although_its_connection_broke() {
    let Some(database) = Database::real("the stand-in has no retryable writes") else { return };
    let store = database.open().await;
    let start = Timestamp::from_millis(4_102_444_800_000);
    let first = Record { expires_at: start.after(Duration::from_secs(60)), ..record(start) };
    store.create(Arc::new(first.clone()), start).await.unwrap();

    let documents = database.documents().await;
    let admin = documents.client().database("admin");
    let hello = admin.run_command(doc! { "hello": 1 }).await.unwrap();
    let break_once = doc! {
        "configureFailPoint": "failCommand",
        "mode": { "times": 1 },
        "data": { "failCommands": ["findAndModify"], "closeConnection": true },
    };
    if !hello.contains_key("setName") || admin.run_command(break_once).await.is_err() {
        skip("retryable writes need a replica set, and this test one with enableTestCommands=1");
        return;
    }
    let times = Times { reset_at: start, last_activity: start, expires_at: first.expires_at };
    let change = Change { data: Some(Data::empty()), ..Change::touch(start, times) };
    let updated = store.update(&first, Unless::Changed, &change).await.unwrap();
    let record = Arc::new(change.applied_to(&first));
    assert_eq!(updated, Updated::Done { record, lived_until: first.expires_at });
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_server_takes_the_right_user_password_and_database_alone() {
    let Some(database) = Database::real("the stand-in has no authentication") else { return };
    let (username, password) = ("ps@sess:man/%\u{df}", "hidden@:/?#%&=+\"'");
    let users = database.documents().await.client().database(&database.config.database);
    let role = doc! { "role": "readWrite", "db": &database.config.database };
    users.run_command(doc! { "createUser": username, "pwd": password, "roles": [role] }).await.unwrap();
    // The login of the server that the run names, if it has one, gives way to the new user's.
    let right = MongoConfig {
        server_url: Secret::new(without_login(database.config.server_url.expose())),
        username: Some(username.into()),
        password: Some(Secret::new(password)),
        auth_source: Some(database.config.database.clone()),
        ..database.config.clone()
    };
    let answer = |config: MongoConfig| async move {
        let store = MongoStore::open(config).unwrap();
        let answer = store.ping().await;
        store.close().await;
        answer
    };
    answer(right.clone()).await.unwrap();
    let mechanism = |name: &str| {
        let url = right.server_url.expose();
        let more = if url.contains('?') { "&" } else { "?" };
        MongoConfig { server_url: Secret::new(format!("{url}{more}authMechanism={name}")), ..right.clone() }
    };
    answer(mechanism("SCRAM-SHA-256")).await.unwrap();
    for wrong in [
        MongoConfig { password: Some(Secret::new("hidden")), ..right.clone() },
        MongoConfig { username: Some("nobody".into()), ..right.clone() },
        MongoConfig { auth_source: Some("elsewhere".into()), ..right.clone() },
    ] {
        let error = answer(wrong).await.unwrap_err();
        let StoreError::Unavailable(source) = &error else { panic!("{error:?}") };
        assert!(source.to_string().contains("did not accept the login"), "{source}");
        assert!(!format!("{error:?}").contains("hidden"), "{error:?}");
    }
    users.run_command(doc! { "dropUser": username }).await.unwrap();
}

fn without_login(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) => format!("{}{}", &url[..scheme + 3], &url[at + 1..]),
        _ => url.to_owned(),
    }
}

#[tokio::test]
async fn a_document_that_a_server_refuses_is_not_called_an_outage() {
    let Some(database) = Database::new() else { return };
    let store = database.open().await;
    let start = Timestamp::from_millis(4_102_444_800_000);
    let too_large = Data::parse(&format!("\"{}\"", "x".repeat(17 << 20))).unwrap();
    let record = Record { data: too_large, ..record(start) };
    let error = store.create(Arc::new(record), start).await.unwrap_err();
    assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
    store.ping().await.unwrap();
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_again_and_again_is_not_taken_for_another_unique_index() {
    let Some(database) = Database::new() else { return };
    let store = Arc::new(database.open().await);
    let start = Timestamp::from_millis(4_102_444_800_000);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..24 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            for _ in 0..120 {
                let record = Arc::new(record(start));
                let target = Target::whatever(record.handle);
                if store.create(record, start).await? == Created::Yes {
                    store.delete(&[target]).await?;
                }
            }
            Ok::<(), StoreError>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap().unwrap();
    }
    store.close().await;
}

#[tokio::test]
async fn another_unique_index_is_not_taken_for_a_collision() {
    let Some(database) = Database::new() else { return };
    let (store, documents) = (database.open().await, database.documents().await);
    let mut options = IndexOptions::default();
    options.unique = Some(true);
    documents
        .create_index(IndexModel::builder().keys(doc! { "version": 1 }).options(options).build())
        .await
        .unwrap();
    let start = Timestamp::from_millis(4_102_444_800_000);
    store.create(Arc::new(record(start)), start).await.unwrap();
    let second = Record { handle: Handle::from([2; 12]), ..record(start) };
    let error = store.create(Arc::new(second), start).await.unwrap_err();
    assert!(error.to_string().contains("unique index"), "{error}");
    store.close().await;
}

fn record(start: Timestamp) -> Record {
    Record {
        handle: Handle::from([1; 12]),
        mark: Mark::from([1; 8]),
        secret_hash: SecretHash::from([1; 32]),
        user_id: None,
        auth_time: None,
        data: Data::empty(),
        metadata: Data::empty(),
        created_at: start,
        updated_at: start,
        reset_at: start,
        last_activity: start,
        ttl: Duration::from_millis(1),
        ttl_source: TtlSource::Configured,
        idle: None,
        persistent: false,
        labels: Labels::none(),
        expires_at: start.after(Duration::from_millis(1)),
        version: 1,
        mac: None,
    }
}
