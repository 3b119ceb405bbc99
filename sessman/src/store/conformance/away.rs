//! What a store does whose server is away, for the stores that have one.

use std::process::{Child, Command};
use std::time::Instant;

use super::*;
use crate::store::StoreError;

/// What a caller waits at most; the rest of two seconds is for the one that asks.
const LIMIT: Duration = Duration::from_millis(1_950);

/// A record of user `ada`.
pub(crate) fn record(n: u8) -> Arc<Record> {
    let handle = Handle::from([n; 12]);
    Arc::new(Record { handle, user_id: Some("ada".into()), ..super::record(n.into()) })
}

/// Every call ends in time, with the error for a server that is not there.
pub(crate) async fn assert_unavailable(store: &dyn Store) {
    let record = record(1);
    let (handle, now) = (record.handle, record.created_at);
    let times = Times { reset_at: now, last_activity: now, expires_at: record.expires_at };
    let change = Change::touch(now, times);
    let listing = |user_id| Listing { user_id, after: None, limit: 10, label: None };
    let (gone, moments) = ([handle], [now]);
    let claim = Claim { user_id: "ada", handle, room: None, moves_last: false, earlier: None };
    let target = [Target::whatever(handle)];

    async fn in_time<T>(call: impl Future<Output = crate::store::Result<T>>) {
        let started = Instant::now();
        let result = call.await;
        assert!(started.elapsed() < LIMIT, "took {:?}", started.elapsed());
        match result {
            Err(StoreError::Unavailable(_)) => {}
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("answered by a server that is away"),
        }
    }
    tokio::join!(
        in_time(store.create(Arc::clone(&record), now)),
        in_time(store.load(handle, now)),
        in_time(store.update(&record, Unless::Changed, &change)),
        in_time(store.delete(&target)),
        in_time(store.outlines(&gone)),
        in_time(store.list(listing(None), now)),
        in_time(store.list(listing(Some("ada")), now)),
        in_time(store.records(None, 10, now)),
        in_time(store.counts(now, &moments)),
        in_time(store.claim(claim)),
        in_time(store.release("ada", &gone)),
        in_time(store.places("ada")),
        in_time(store.all_places(None, 10)),
        in_time(store.purge_expired(now, 10)),
        in_time(store.clear()),
        in_time(store.ping()),
    );
}

/// Waits until the store answers, at most as long as a service may take to recover.
pub(crate) async fn wait_for(store: &dyn Store) {
    let started = Instant::now();
    while let Err(error) = store.ping().await {
        assert!(started.elapsed() < Duration::from_secs(15), "{error:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Stops a process without ending it: connections stay open, and nothing answers.
pub(crate) fn freeze(child: &Child) {
    signal(child, "-STOP");
    // The signal is under way to each of its threads; until it is there, one may still answer.
    let stopped = |thread: std::fs::DirEntry| {
        let state = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        state.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 't', 'Z', 'X']))
    };
    let threads = format!("/proc/{}/task", child.id());
    while !std::fs::read_dir(&threads).unwrap().flatten().all(stopped) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Lets a process go on that [`freeze`] stopped.
pub(crate) fn thaw(child: &Child) {
    signal(child, "-CONT");
}

fn signal(child: &Child, signal: &str) {
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}
