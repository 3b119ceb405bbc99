//! Files and rows of other layouts than this build's.

use super::*;
use crate::record::Mac;
use crate::store::{Claim, Claimed};

/// A file as the versions made it that knew no claims.
const LAYOUT_1: &str = "
    PRAGMA auto_vacuum = INCREMENTAL;
    PRAGMA journal_mode = WAL;
    CREATE TABLE sessions (
        id            INTEGER PRIMARY KEY,
        handle        BLOB NOT NULL,
        secret_hash   BLOB NOT NULL,
        user_id       TEXT,
        created_at    INTEGER NOT NULL,
        updated_at    INTEGER NOT NULL,
        reset_at      INTEGER NOT NULL,
        last_activity INTEGER NOT NULL,
        ttl           INTEGER NOT NULL,
        expires_at    INTEGER NOT NULL,
        version       INTEGER NOT NULL,
        schema        INTEGER NOT NULL,
        expiry_bucket INTEGER NOT NULL,
        metadata      TEXT NOT NULL,
        data          TEXT NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX sessions_handle ON sessions (handle);
    CREATE INDEX sessions_expiry_bucket ON sessions (expiry_bucket);
    CREATE INDEX sessions_user ON sessions (user_id, handle) WHERE user_id IS NOT NULL;
    PRAGMA application_id = 0x73657373;
    PRAGMA user_version = 1;
    INSERT INTO sessions VALUES (1, x'9e3779b10000000000000000',
        x'0707070707070707070707070707070707070707070707070707070707070707',
        'ada', 500, 0, 0, 0, 1000, 1000000, 1, 1, 16, '{}', '\"xx\"');
";

/// A file as the versions made it that knew no tail.
const LAYOUT_2: &str = "
    PRAGMA auto_vacuum = INCREMENTAL;
    PRAGMA journal_mode = WAL;
    CREATE TABLE sessions (
        id            INTEGER PRIMARY KEY,
        handle        BLOB NOT NULL,
        secret_hash   BLOB NOT NULL,
        user_id       TEXT,
        created_at    INTEGER NOT NULL,
        updated_at    INTEGER NOT NULL,
        reset_at      INTEGER NOT NULL,
        last_activity INTEGER NOT NULL,
        ttl           INTEGER NOT NULL,
        expires_at    INTEGER NOT NULL,
        version       INTEGER NOT NULL,
        schema        INTEGER NOT NULL,
        expiry_bucket INTEGER NOT NULL,
        auth_time     INTEGER,
        metadata      TEXT NOT NULL,
        data          TEXT NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX sessions_handle ON sessions (handle);
    CREATE INDEX sessions_expiry_bucket ON sessions (expiry_bucket);
    CREATE INDEX sessions_user ON sessions (user_id, handle) WHERE user_id IS NOT NULL;
    CREATE TABLE claims (
        id      INTEGER PRIMARY KEY,
        user_id TEXT NOT NULL,
        handle  BLOB NOT NULL
    ) STRICT;
    CREATE INDEX claims_user ON claims (user_id);
    PRAGMA application_id = 0x73657373;
    PRAGMA user_version = 2;
    INSERT INTO sessions VALUES (1, x'9e3779b10000000000000000',
        x'0707070707070707070707070707070707070707070707070707070707070707',
        'ada', 500, 0, 0, 0, 1000, 1000000, 1, 1, 16, NULL, '{}', '\"xx\"');
    INSERT INTO claims VALUES (1, 'ada', x'9e3779b10000000000000000');
";

/// The record in those files.
fn older() -> Arc<Record> {
    Arc::new(Record {
        mark: Mark::of_layout_1(at(500)),
        created_at: at(500),
        ttl_source: TtlSource::Unknown,
        ..(*record(1, 2)).clone()
    })
}

async fn load(store: &SqliteStore, n: u32) -> Option<Arc<Record>> {
    store.load(record(n, 0).handle, at(0)).await.unwrap().live()
}

/// The tail of the first row, in hexadecimal digits.
async fn tail(store: &SqliteStore) -> Option<String> {
    store
        .read(|file| {
            file.query_row("SELECT hex(tail) FROM sessions WHERE tail IS NOT NULL", [], |row| row.get(0))
                .optional()
        })
        .await
        .unwrap()
}

async fn touch(store: &SqliteStore, read: &Record, mac: Option<Mac>) -> Arc<Record> {
    let times = Times { reset_at: at(2), last_activity: at(2), expires_at: at(2_000_000) };
    let change = Change { mac, ..Change::touch(at(2), times) };
    match store.update(read, Unless::Gone, &change).await.unwrap() {
        Updated::Done { record, .. } => record,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_newer_layout_is_refused() {
    let folder = TempDir::new().unwrap();
    open_in(&folder).close().await;
    sql(&path_in(&folder), "PRAGMA user_version = 5");
    let text = refusal(&path_in(&folder));
    assert!(text.contains("newer version (its layout is 5, this build knows 4)"), "{text}");
    sql(&path_in(&folder), "PRAGMA user_version = 0");
    assert!(refusal(&path_in(&folder)).contains("damaged"));
}

async fn is_brought_up(layout: &str) {
    let folder = TempDir::new().unwrap();
    sql(&path_in(&folder), layout);
    for _ in 0..2 {
        let store = open_in(&folder);
        assert_eq!(load(&store, 1).await, Some(older()));
        let claim = Claim {
            user_id: "ada",
            handle: record(1, 0).handle,
            room: None,
            moves_last: false,
            earlier: Some(&[]),
        };
        let place = vec![record(1, 0).handle];
        assert_eq!(store.claim(claim).await.unwrap(), Claimed::Done(place));
        store.close().await;
    }
    // New sessions have it all, beside the older one.
    let store = open_uncached_in(&folder);
    create(&store, 2).await;
    assert_eq!((load(&store, 1).await, load(&store, 2).await), (Some(older()), Some(record(2, 200))));
    let touched = touch(&store, &older(), None).await;
    assert_eq!(load(&store, 1).await, Some(touched.clone()));
    assert_eq!(touched.mark, older().mark, "it is the same session");
    store.close().await;

    sql(&path_in(&folder), "DROP TABLE sessions");
    assert!(refusal(&path_in(&folder)).contains("damaged"));
}

#[tokio::test]
async fn a_file_of_layout_1_is_brought_up_to_this_one() {
    is_brought_up(LAYOUT_1).await;
    let folder = TempDir::new().unwrap();
    sql(&path_in(&folder), LAYOUT_1);
    sql(&path_in(&folder), "DROP TABLE sessions");
    assert!(refusal(&path_in(&folder)).contains("damaged"), "before it was brought up");
}

#[tokio::test]
async fn a_file_of_layout_2_is_brought_up_to_this_one() {
    is_brought_up(LAYOUT_2).await;
}

#[tokio::test]
async fn a_row_of_an_older_file_gets_its_tail_when_it_is_written() {
    let folder = TempDir::new().unwrap();
    sql(&path_in(&folder), LAYOUT_2);
    let store = open_uncached_in(&folder);
    assert_eq!(tail(&store).await, None);
    touch(&store, &older(), None).await;
    assert_eq!(tail(&store).await.as_deref(), Some("01000800000000000001F4"), "the mark of its beginning");
    let sealed = touch(&store, &older(), Some(Mac([9; 32]))).await;
    assert_eq!(load(&store, 1).await.unwrap().mac, sealed.mac);
    store.close().await;
}

/// What is in a tail is written with the session and when it changes, and else not put together.
#[tokio::test]
async fn a_touch_leaves_the_tail_alone() {
    const OTHER_ORDER: &str = "02000100010008\
        7070707070707070";
    let folder = TempDir::new().unwrap();
    let store = open_uncached_in(&folder);
    create(&store, 1).await;
    store.write(Sql("UPDATE sessions SET tail = x'020001000100087070707070707070'")).await.unwrap();
    touch(&store, &record(1, 0), None).await;
    assert_eq!(tail(&store).await.as_deref(), Some(OTHER_ORDER));
    touch(&store, &record(1, 0), Some(Mac([9; 32]))).await;
    let ours = format!("01000870707070707070700200010003{}{}", "0020", "09".repeat(32));
    assert_eq!(tail(&store).await, Some(ours));
    store.close().await;
}

#[tokio::test]
async fn a_record_of_a_newer_layout_is_not_guessed_at() {
    let folder = TempDir::new().unwrap();
    let store = open_in(&folder);
    create(&store, 1).await;
    store.close().await;
    for (change, reason) in [
        ("schema = 3", "its layout is 3"),
        ("schema = 2, tail = x'FA0000'", "does not know (250)"),
        ("tail = x'0100'", "it is damaged"),
    ] {
        sql(&path_in(&folder), &format!("UPDATE sessions SET {change}"));
        let store = open_in(&folder);
        let error = store.load(record(1, 0).handle, at(0)).await.unwrap_err();
        assert!(matches!(&error, StoreError::Unusable(text) if text.contains(reason)), "{error}");
        store.close().await;
    }
}
