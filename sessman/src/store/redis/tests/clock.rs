//! The server's clock, which is not ours.

use std::time::SystemTime;

use super::server::text;
use super::*;
use crate::record::{Change, Times};
use crate::store::{Created, Unless, Updated};
use crate::time::Timestamp;

use super::super::keys::Keys;

const SECOND: Duration = Duration::from_secs(1);

/// What our clock says when the server's is so far ahead of it.
fn behind(ahead: Duration) -> Timestamp {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap()).before(ahead)
}

/// A record that begins now and lives ten seconds.
fn short(n: u8, now: Timestamp) -> Arc<Record> {
    let times = Record { created_at: now, updated_at: now, reset_at: now, ..(*record(n)).clone() };
    Arc::new(Record { last_activity: now, expires_at: now.after(10 * SECOND), ttl: 10 * SECOND, ..times })
}

#[tokio::test]
async fn a_server_whose_clock_is_ahead_ends_no_session_early() {
    let Some(server) = Server::start(&[]) else { return };
    let store = RedisStore::open(&server.config()).unwrap();
    for ahead in [71 * SECOND, 3_600 * SECOND] {
        let now = behind(ahead);
        let one = short(1, now);
        // Over one that has ended, the second time: as the server keeps it a little longer.
        for _ in 0..2 {
            assert_eq!(store.create(one.clone(), now).await.unwrap(), Created::Yes);
            assert_eq!(store.load(one.handle, now).await.unwrap().live(), Some(one.clone()));
            let times = Times { reset_at: now, last_activity: now, expires_at: now.after(20 * SECOND) };
            for data in [None, Some(one.data.clone())] {
                let change = Change { data, ..Change::touch(now, times) };
                let updated = store.update(&one, Unless::Gone, &change).await.unwrap();
                assert!(matches!(updated, Updated::Done { .. }), "{ahead:?}");
                assert!(store.load(one.handle, now).await.unwrap().live().is_some(), "{ahead:?}");
            }
            let times = Times { expires_at: now, ..times };
            let ended = store.update(&one, Unless::Gone, &Change::touch(now, times)).await.unwrap();
            assert!(matches!(ended, Updated::Done { .. }));
        }
        assert!(delete(&store, Target::whatever(one.handle)).await);
    }
    store.close().await;
}

#[tokio::test]
async fn a_server_whose_clock_is_behind_keeps_nothing_much_longer() {
    let Some(server) = Server::start(&[]) else { return };
    let config = server.config();
    let store = RedisStore::open(&config).unwrap();
    // In a year, as the server has it.
    let now = behind(Duration::ZERO).after(365 * 86_400 * SECOND);
    assert_eq!(store.create(short(1, now), now).await.unwrap(), Created::Yes);
    let key = text(Keys::new(&config.prefix).session(record(1).handle));
    let left: u64 = server.cli(&["PTTL", &key]).parse().unwrap();
    assert!(left <= 70_000, "{left} ms");
    store.close().await;
}
