//! The clean-up: who does it, and how much at a time.

use super::super::keys::{Keys, Name};
use super::super::tidying::Tidying;
use super::server::{create, text};
use super::*;
use crate::labels::{Label, Labels};
use crate::record::{Change, Times};
use crate::store::{Created, Unless, Updated};

const PERIOD: Duration = Duration::from_secs(300);

#[tokio::test]
async fn one_process_at_a_time_leads_the_cleanup_until_it_asks_no_more() {
    let Some(server) = Server::start(&[]) else { return };
    let config = server.config();
    let [one, two] = [(); 2].map(|()| RedisStore::open(&config).unwrap());
    let key = text(Keys::new(&config.prefix).lead());
    let left = || server.cli(&["PTTL", &key]).parse::<u128>().unwrap();
    assert!(one.leads_cleanup(PERIOD).await.unwrap());
    assert!(!two.leads_cleanup(PERIOD).await.unwrap());
    assert!(left() > PERIOD.as_millis() && left() <= 2 * PERIOD.as_millis(), "{} ms", left());
    // Whoever has it keeps it, by asking.
    server.cli(&["PEXPIRE", &key, "60000"]);
    assert!(one.leads_cleanup(PERIOD).await.unwrap());
    assert!(left() > PERIOD.as_millis(), "{} ms", left());
    assert!(!two.leads_cleanup(PERIOD).await.unwrap());
    // As when its time is over.
    server.cli(&["PEXPIRE", &key, "0"]);
    assert!(two.leads_cleanup(PERIOD).await.unwrap());
    assert!(!one.leads_cleanup(PERIOD).await.unwrap());
    // Another instance at the same server has one of its own.
    let other = RedisStore::open(&server.config()).unwrap();
    assert!(other.leads_cleanup(PERIOD).await.unwrap());
    for store in [one, two, other] {
        store.close().await;
    }
}

#[tokio::test]
async fn tidying_looks_at_a_share_of_the_users_and_goes_on_behind_it() {
    let Some(server) = Server::start(&[]) else { return };
    let config = server.config();
    let store = RedisStore::open(&config).unwrap();
    let keys = Keys::new(&config.prefix);
    create(&store, &record(1)).await;
    let mut connection = redis::Client::open(format!("redis://{}", server.address())).unwrap();
    let mut pipeline = redis::pipe();
    const USERS: u64 = 9_000;
    for n in 0..USERS {
        let name = Name::of(&record(2)).to_bytes();
        pipeline.cmd("ZADD").arg(keys.names(&format!("user-{n}"))).arg(1).arg(name).ignore();
    }
    pipeline.exec(&mut connection).unwrap();
    let count = || server.cli(&["DBSIZE"]).parse::<u64>().unwrap();
    let before = count();
    let tidying = Tidying::new(0, 2);
    let mut rounds = 0;
    loop {
        tidying.tidy(&store.servers, &store.keys, record(1).created_at).await.unwrap();
        rounds += 1;
        if rounds == 1 {
            // 1,000 keys a step, and a few more where the server keeps them together.
            assert!(count() < before && count() > before - 2 * 1_500, "{} of {before} are left", count());
        }
        if count() == before - USERS {
            break;
        }
        assert!(rounds < 20, "{} of {before} are left", count());
    }
    assert!(rounds > 2, "{rounds}");
    store.close().await;
}

#[tokio::test]
async fn names_of_labels_that_sessions_have_lost_are_taken_away_and_no_others() {
    let Some(server) = Server::start(&[]) else { return };
    let config = server.config();
    let store = RedisStore::open(&config).unwrap();
    let keys = Keys::new(&config.prefix);
    let label = |name: &str| Label::new(name, "1").unwrap();
    let labels = |names: &[&str]| Labels::from_list(names.iter().map(|name| label(name)).collect()).unwrap();
    let labelled = |n: u8, names: &[&str]| Arc::new(Record { labels: labels(names), ..(*record(n)).clone() });
    let start = record(0).created_at;
    for n in 0..3 {
        assert_eq!(store.create(labelled(n, &["a", "b"]), start).await.unwrap(), Created::Yes);
    }
    let lost = labelled(1, &["a", "b"]);
    let change = Change { labels: Some(labels(&["b"])), ..Change::touch(start, times_of(&lost)) };
    assert!(matches!(store.update(&lost, Unless::Changed, &change).await.unwrap(), Updated::Done { .. }));
    let session = text(keys.session(record(2).handle));
    server.cli(&["DEL", &session]);
    let left = |name: &str| -> u32 {
        let count = |n: u8| {
            let key = text(keys.label(record(n).handle.as_bytes()[0], &label(name)));
            server.cli(&["ZCARD", &key]).parse::<u32>().unwrap()
        };
        let first: std::collections::BTreeSet<u8> = (0..3).map(|n| record(n).handle.as_bytes()[0]).collect();
        assert_eq!(first.len(), 3, "each has a set of its own");
        (0..3).map(count).sum()
    };
    assert_eq!((left("a"), left("b")), (3, 3));
    // A name may be that of a session about to be written.
    store.tidying.tidy(&store.servers, &keys, start).await.unwrap();
    assert_eq!((left("a"), left("b")), (3, 3));
    let later = start.after(Duration::from_secs(700));
    store.tidying.tidy(&store.servers, &keys, later).await.unwrap();
    assert_eq!((left("a"), left("b")), (1, 2));
    // What a failover lost comes back.
    let key = text(keys.label(record(0).handle.as_bytes()[0], &label("a")));
    server.cli(&["DEL", &key]);
    store.tidying.tidy(&store.servers, &keys, later).await.unwrap();
    assert_eq!((left("a"), left("b")), (1, 2));
    store.close().await;
}

fn times_of(record: &Record) -> Times {
    let Record { reset_at, last_activity, expires_at, .. } = *record;
    Times { reset_at, last_activity, expires_at }
}
