use tempfile::TempDir;

use super::*;
use crate::budget::Unlimited;
use crate::store::Places;
use crate::store::conformance::record;
use crate::store::sqlite::{Durability, SqliteStore};
use crate::time::ManualClock;

fn config(folder: &TempDir) -> SqliteConfig {
    SqliteConfig { path: folder.path().join("sessions.db"), durability: Durability::Normal, cache_bytes: 0 }
}

fn unusable(result: Result<SqliteView>) -> String {
    match result {
        Err(StoreError::Unusable(text)) => text,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was opened"),
    }
}

#[tokio::test]
async fn a_file_is_read_beside_its_owner_as_it_is_and_as_it_was() {
    let folder = TempDir::new().unwrap();
    let now = Timestamp::from_millis(1_000);
    let owner =
        SqliteStore::open(config(&folder), Arc::new(ManualClock::new(now)), &Unlimited::shared()).unwrap();
    let (first, second) = (Arc::new(record(1)), Arc::new(record(2)));
    owner.create(Arc::clone(&first), now).await.unwrap();
    let ada = Places { user_id: "ada".into(), handles: vec![second.handle] };
    let claim = Claim {
        user_id: &ada.user_id,
        handle: second.handle,
        room: None,
        moves_last: false,
        earlier: Some(&[]),
    };
    owner.claim(claim).await.unwrap();
    let present = SqliteView::open(&config(&folder), View::Present).unwrap();
    let snapshot = SqliteView::open(&config(&folder), View::Snapshot).unwrap();
    owner.create(Arc::clone(&second), now).await.unwrap();
    owner.delete(&[Target::whatever(first.handle)]).await.unwrap();

    assert_eq!(present.load(second.handle, now).await.unwrap().live(), Some(Arc::clone(&second)));
    let since = [Timestamp::from_millis(0)];
    assert_eq!(present.counts(now, &since).await.unwrap(), Counts { active: 1, expired: 0, since: vec![1] });
    let listing = Listing { limit: 10, ..Listing::default() };
    assert_eq!(snapshot.list(listing, now).await.unwrap().items, [first.summary()]);
    assert_eq!(snapshot.records(None, 10, now).await.unwrap().items, [Arc::clone(&first)]);
    let outlined = Outlined::Found(first.outline());
    assert_eq!(
        snapshot.outlines(&[second.handle, first.handle]).await.unwrap(),
        [Outlined::Missing, outlined]
    );
    let places = present.places("ada").await.unwrap();
    assert_eq!((places, present.all_places(None, 10).await.unwrap().users), (vec![second.handle], vec![ada]));
    assert_eq!(snapshot.load(second.handle, now).await.unwrap(), Loaded::Missing);
    assert_eq!(snapshot.counts(now, &since).await.unwrap().since, [1]);
    assert!(snapshot.checkup().await.unwrap().problems.is_empty());
    // Nothing is written, and its owner goes on.
    assert!(present.delete(&[Target::whatever(second.handle)]).await.is_err());
    assert!(present.clear().await.is_err() && present.forget_places().await.is_err());
    assert!(present.create(first, now).await.is_err());
    owner.ping().await.unwrap();
}

#[tokio::test]
async fn a_snapshot_does_not_hold_the_log_of_its_owner_for_ever() {
    let folder = TempDir::new().unwrap();
    let now = Timestamp::from_millis(1_000);
    let owner =
        SqliteStore::open(config(&folder), Arc::new(ManualClock::new(now)), &Unlimited::shared()).unwrap();
    owner.create(Arc::new(record(1)), now).await.unwrap();
    let log = folder.path().join("sessions.db-wal");
    let snapshot = SqliteView::open_for(Duration::from_millis(1), &config(&folder), View::Snapshot).unwrap();
    let ended = loop {
        match snapshot.counts(now, &[]).await {
            Ok(counts) => assert_eq!(counts.active, 1),
            Err(error) => break error,
        }
    };
    assert!(matches!(&ended, StoreError::Unusable(text) if text.contains("was read for")), "{ended}");
    owner.create(Arc::new(record(2)), now).await.unwrap();
    assert!(snapshot.counts(now, &[]).await.is_err(), "nothing is read of another state");
    // It still has the file open, and reads nothing: the log can be put away.
    owner.close().await;
    assert_eq!(std::fs::metadata(log).unwrap().len(), 0);
    drop(snapshot);
}

#[tokio::test]
async fn what_cannot_be_read_is_named_and_nothing_is_made() {
    let folder = TempDir::new().unwrap();
    let missing = unusable(SqliteView::open(&config(&folder), View::Present));
    assert!(missing.contains("sessions.db cannot be read"), "{missing}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

    std::fs::write(config(&folder).path, "").unwrap();
    assert!(unusable(SqliteView::open(&config(&folder), View::Snapshot)).contains("is empty"));
    std::fs::write(config(&folder).path, "not a database, though it is longer than a header".repeat(9))
        .unwrap();
    assert!(unusable(SqliteView::open(&config(&folder), View::Present)).contains("damaged"));
    let foreign = Connection::open(folder.path().join("other.db")).unwrap();
    foreign.execute_batch("CREATE TABLE cats (name TEXT)").unwrap();
    let other = SqliteConfig { path: folder.path().join("other.db"), ..config(&folder) };
    assert!(unusable(SqliteView::open(&other, View::Present)).contains("another application"));
    for older in [1, 2] {
        let ours = format!("PRAGMA application_id = 0x73657373; PRAGMA user_version = {older}");
        foreign.execute_batch(&ours).unwrap();
        let text = unusable(SqliteView::open(&other, View::Present));
        assert!(text.contains(&format!("its layout is {older}")), "{text}");
        assert!(text.contains("a start of pserve brings it up"), "{text}");
    }
    foreign.execute_batch("PRAGMA user_version = 99").unwrap();
    assert!(unusable(SqliteView::open(&other, View::Present)).contains("newer version"));
}
