//! What a server does of its own, and what it is told: expiry, limits, logins, TLS, keys of others.

use super::super::keys::{Keys, Name};
use super::*;
use crate::id::Handle;
use crate::record::{Change, Times};
use crate::store::conformance::away::wait_for;
use crate::store::conformance::certificates;
use crate::store::{Created, Listing, Store, StoreError, Unless, Updated};
use crate::time::Timestamp;

pub(super) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

pub(super) async fn create(store: &RedisStore, record: &Arc<Record>) {
    assert_eq!(store.create(record.clone(), record.created_at).await.unwrap(), Created::Yes);
}

#[tokio::test]
async fn the_server_removes_a_record_a_minute_after_its_end_and_so_does_an_extension() {
    let Some(server) = Server::start(&[]) else { return };
    let config = server.config();
    let store = RedisStore::open(&config).unwrap();
    let one = record(1);
    let key = text(Keys::new(&config.prefix).session(one.handle));
    // By the server's own clock, which is not that of the records.
    let left = || Duration::from_millis(server.cli(&["PTTL", &key]).parse().unwrap());
    let minute = Duration::from_secs(60);
    let is_left = |expected: Duration| left() <= expected && left() > expected - minute / 2;
    create(&store, &one).await;
    assert!(is_left(one.expires_at.since(one.created_at) + minute), "{:?}", left());
    let (at, later) = (one.created_at, one.expires_at.after(Duration::from_secs(5)));
    let times = Times { reset_at: at, last_activity: at, expires_at: later };
    for data in [None, Some(one.data.clone())] {
        let change = Change { data, ..Change::touch(at, times) };
        let updated = store.update(&one, Unless::Gone, &change).await.unwrap();
        assert!(matches!(updated, Updated::Done { .. }));
        assert!(is_left(later.since(at) + minute), "{:?}", left());
    }
    store.close().await;
}

#[tokio::test]
async fn the_name_of_a_session_that_the_server_removed_is_tidied_when_its_time_has_come() {
    let Some(server) = Server::start(&[]) else { return };
    let config = server.config();
    let store = RedisStore::open(&config).unwrap();
    let keys = Keys::new(&config.prefix);
    let names = text(keys.names("ada"));
    let count = || server.cli(&["ZCARD", &names]);
    let (removed, extended, ended) = (record(1), record(2), record(3));
    for record in [&removed, &extended, &ended] {
        create(&store, record).await;
    }
    assert_eq!(count(), "3");
    assert!(delete(&store, Target::whatever(ended.handle)).await);
    // What is ended takes its name with it, behind the answer.
    eventually(|| count() == "2").await;

    server.cli(&["DEL", &text(keys.session(removed.handle))]);
    let end = removed.expires_at.after(Duration::from_secs(60));
    let later = end.after(Duration::from_secs(3_600));
    let times = Times { reset_at: end, last_activity: end, expires_at: later };
    let change = Change::touch(extended.created_at, times);
    store.update(&extended, Unless::Gone, &change).await.unwrap();

    let listed =
        store.list(Listing { user_id: Some("ada"), after: None, limit: 9, label: None }, end).await.unwrap();
    assert_eq!(listed.items.len(), 1, "a name alone is no session");
    let just_before = end.before(Duration::from_millis(1));
    store.tidy(just_before).await.unwrap();
    assert_eq!(count(), "2", "its session may be about to be written");
    store.tidy(end).await.unwrap();
    assert_eq!(count(), "1");
    // The other one has a new time, and goes when that has come and it is not there.
    server.cli(&["DEL", &text(keys.session(extended.handle))]);
    store.tidy(end).await.unwrap();
    assert_eq!(count(), "1");
    store.tidy(later.after(Duration::from_secs(60))).await.unwrap();
    assert_eq!(server.cli(&["EXISTS", &names]), "0");
    store.close().await;
}

#[tokio::test]
async fn a_later_session_with_the_same_handle_keeps_its_name() {
    let Some(server) = Server::start(&[]) else { return };
    let config = server.config();
    let store = RedisStore::open(&config).unwrap();
    let one = record(1);
    for _ in 0..3 {
        create(&store, &one).await;
        assert!(delete(&store, Target::incarnation(one.handle, one.mark)).await);
    }
    create(&store, &one).await;
    // The name of one that was there before, whose removal failed.
    let before = Name { handle: one.handle, mark: Mark::from(*b"\0\0before") };
    let names = Keys::new(&config.prefix).names("ada");
    let mut connection = redis::Client::open(format!("redis://{}", server.address())).unwrap();
    let mut add = redis::cmd("ZADD");
    add.arg(&names).arg(1).arg(before.to_bytes()).exec(&mut connection).unwrap();
    let listing = Listing { user_id: Some("ada"), after: None, limit: 9, label: None };
    let listed = || async { store.list(listing, one.created_at).await.unwrap().items };
    assert_eq!(listed().await, [one.summary()], "once");
    store.tidy(one.created_at).await.unwrap();
    assert_eq!(listed().await, [one.summary()]);
    assert_eq!(server.cli(&["ZCARD", &text(names)]), "1");
    store.close().await;
}

#[tokio::test]
async fn keys_of_others_are_neither_listed_nor_deleted() {
    let Some(server) = Server::start(&[]) else { return };
    let config = server.config();
    let store = RedisStore::open(&config).unwrap();
    create(&store, &record(1)).await;
    let ours = Keys::new(&config.prefix);
    let damaged = text(ours.session(Handle::from([9; 12])));
    let list = text(ours.session(Handle::from([8; 12])));
    let short = format!("{}:s:short", config.prefix);
    let other = format!("{}-2:s:{}", config.prefix, Handle::from([1; 12]));
    for key in [&damaged, &short, &other, &"sessions".to_owned()] {
        assert_eq!(server.cli(&["SET", key, "something else"]), "OK");
    }
    server.cli(&["RPUSH", &list, "x"]);
    let now = record(1).created_at;
    let listed =
        store.list(Listing { user_id: None, after: None, limit: 9, label: None }, now).await.unwrap();
    assert_eq!(listed.items, [record(1).summary()]);
    assert_eq!(store.counts(now, &[]).await.unwrap().active, 1);
    assert_eq!(store.purge_expired(now, 9).await.unwrap(), []);
    for n in [8, 9] {
        let handle = Handle::from([n; 12]);
        let there = Record { handle, ..(*record(1)).clone() };
        let change = Change::touch(now, Times { reset_at: now, last_activity: now, expires_at: now });
        assert!(matches!(store.load(handle, now).await, Err(StoreError::Unusable(_))));
        assert!(matches!(store.create(Arc::new(there.clone()), now).await, Err(StoreError::Unusable(_))));
        assert!(matches!(store.update(&there, Unless::Gone, &change).await, Err(StoreError::Unusable(_))));
        let this = Target::incarnation(handle, there.mark);
        assert!(matches!(store.delete(&[this]).await, Err(StoreError::Unusable(_))));
    }
    // What is no string never was a session. Of a string under a session's name that cannot be said.
    let list_itself = Target::whatever(Handle::from([8; 12]));
    assert!(matches!(store.delete(&[list_itself]).await, Err(StoreError::Unusable(_))));
    assert_eq!(store.clear().await.unwrap(), 2);
    let mut left = server.cli(&["KEYS", "*"]).lines().map(str::to_owned).collect::<Vec<_>>();
    let mut expected = vec![list, short, other, "sessions".to_owned()];
    // Names of sessions that could not be made stay until their time has come.
    expected.extend([ours.names("ada"), ours.index(8), ours.index(9)].map(text));
    left.sort();
    expected.sort();
    assert_eq!(left, expected);
    store.close().await;
}

#[tokio::test]
async fn a_session_whose_names_cannot_be_written_is_not_begun() {
    let Some(server) = Server::start(&[]) else { return };
    let config = server.config();
    let store = RedisStore::open(&config).unwrap();
    let keys = Keys::new(&config.prefix);
    let (one, now) = (record(1), record(1).created_at);
    for names in [keys.names("ada"), keys.index(one.handle.as_bytes()[0])].map(text) {
        assert_eq!(server.cli(&["SET", &names, "something else"]), "OK");
        assert!(matches!(store.create(one.clone(), now).await, Err(StoreError::Unusable(_))));
        assert_eq!(store.load(one.handle, now).await.unwrap().live(), None);
        assert_eq!(server.cli(&["DEL", &names]), "1");
    }
    create(&store, &one).await;
    // Nor does it end the one that is there.
    assert_eq!(server.cli(&["SET", &text(keys.names("ada")), "something else"]), "OK");
    assert!(store.create(one.clone(), now).await.is_err());
    assert_eq!(store.load(one.handle, now).await.unwrap().live(), Some(one));
    store.close().await;
}

#[tokio::test]
async fn a_full_server_takes_no_session_and_gives_and_ends_those_it_has() {
    let Some(server) = Server::start(&["--maxmemory-policy", "noeviction"]) else { return };
    let store = RedisStore::open(&server.config()).unwrap();
    let (one, now) = (record(1), record(1).created_at);
    create(&store, &one).await;
    assert_eq!(server.cli(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
    assert!(matches!(store.create(record(2), now).await, Err(StoreError::Full)));
    assert!(matches!(store.ping().await, Err(StoreError::Full)));
    assert_eq!(store.load(one.handle, now).await.unwrap().live(), Some(one.clone()));
    assert!(delete(&store, Target::incarnation(one.handle, one.mark)).await);
    store.close().await;
}

#[tokio::test]
async fn a_server_that_takes_nobody_in_is_an_outage() {
    let Some(server) = Server::start(&["--maxclients", "1"]) else { return };
    let first = RedisStore::open(&server.config()).unwrap();
    // What looked whether the server listens may not have been let go of yet.
    wait_for(&first).await;
    let second = RedisStore::open(&server.config()).unwrap();
    assert!(matches!(second.ping().await, Err(StoreError::Unavailable(_))));
    first.close().await;
    wait_for(&second).await;
    second.close().await;
}

#[tokio::test]
async fn a_server_that_forgot_the_scripts_is_told_them_again() {
    let Some(server) = Server::start(&[]) else { return };
    let store = RedisStore::open(&server.config()).unwrap();
    create(&store, &record(1)).await;
    assert_eq!(server.cli(&["SCRIPT", "FLUSH"]), "OK");
    create(&store, &record(2)).await;
    assert!(delete(&store, Target::whatever(record(1).handle)).await);
    store.close().await;
}

#[tokio::test]
async fn a_login_may_have_any_characters_and_is_never_shown() {
    let Some(server) = Server::start(&[]) else { return };
    let password = "h\u{fc}dden@:/?#%>&=";
    // Nothing but what the store needs, on its own keys.
    let config = RedisConfig { username: Some("ps@sess:man/%".into()), ..server.config() };
    let keys = format!("~{}:*", config.prefix);
    let rule = format!(">{password}");
    let commands = [
        "ACL",
        "SETUSER",
        "ps@sess:man/%",
        "on",
        &rule,
        &keys,
        "-@all",
        "+get",
        "+getrange",
        "+setrange",
        "+set",
        "+del",
        "+pexpire",
        "+eval",
        "+evalsha",
        "+scan",
        "+zadd",
        "+zrem",
        "+zscore",
        "+zrange",
        "+zrangebyscore",
        "+zrangebylex",
        "+lrange",
        "+rpush",
        "+lrem",
        "+info",
        "+cluster|slots",
        "+select",
    ];
    assert_eq!(server.cli(&commands), "OK");
    let right = RedisConfig { password: Some(Secret::new(password)), ..config.clone() };
    for (command, named) in [("cluster|slots", "CLUSTER SLOTS"), ("set", "NOPERM")] {
        assert_eq!(server.cli(&["ACL", "SETUSER", "ps@sess:man/%", &format!("-{command}")]), "OK");
        let store = RedisStore::open(&right).unwrap();
        let refused = store.create(record(1), record(1).created_at).await;
        assert!(
            matches!(&refused, Err(StoreError::Unusable(reason)) if reason.contains(named)),
            "{refused:?}"
        );
        store.close().await;
        assert_eq!(server.cli(&["ACL", "SETUSER", "ps@sess:man/%", &format!("+{command}")]), "OK");
    }
    assert_eq!(server.cli(&["ACL", "SETUSER", "default", "off"]), "OK");
    let store = RedisStore::open(&right).unwrap();
    let (one, now) = (record(1), record(1).created_at);
    create(&store, &one).await;
    let earlier = Some(&[][..]);
    let claim =
        crate::store::Claim { user_id: "ada", handle: one.handle, room: None, moves_last: true, earlier };
    store.claim(claim).await.unwrap();
    store.release("ada", &[one.handle]).await.unwrap();
    store.tidy(now).await.unwrap();
    assert!(store.leads_cleanup(Duration::from_secs(9)).await.unwrap());
    assert_eq!(
        store.list(Listing { user_id: None, after: None, limit: 9, label: None }, now).await.unwrap().items,
        [one.summary()]
    );
    store.ping().await.unwrap();
    assert_eq!(store.clear().await.unwrap(), 1);
    store.close().await;

    let encoded: String = password.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let in_url = format!("redis://ps%40sess:{encoded}@{}", server.address());
    for wrong in [
        RedisConfig { password: Some(Secret::new("hidden")), ..config.clone() },
        RedisConfig { username: None, ..config.clone() },
        RedisConfig { server_url: Secret::new(in_url), username: None, ..config },
    ] {
        let store = RedisStore::open(&wrong).unwrap();
        let error = store.ping().await.unwrap_err();
        let StoreError::Unavailable(source) = &error else { panic!("{error:?}") };
        assert!(source.to_string().contains("did not accept the login"), "{source}");
        assert!(!format!("{error:?}").contains("dden"), "{error:?}");
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_knows_the_server_and_shows_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    if !certificates::make(folder.path()) {
        return;
    }
    let [certificate, key, ca] = ["server.pem", "server.key", "ca.pem"].map(path);
    let files = [&certificate, &key, &ca].map(|path| path.to_str().unwrap());
    let settings = ["--tls-cert-file", files[0], "--tls-key-file", files[1], "--tls-ca-cert-file", files[2]];
    let Some(server) = Server::start(&settings) else { return };
    let good = RedisConfig {
        tls_ca_file: Some(path("ca.pem")),
        tls_certificate_file: Some(path("client.pem")),
        tls_key_file: Some(path("client.key")),
        ..config(&format!("rediss://localhost:{}", server.port))
    };
    let store = RedisStore::open(&good).unwrap();
    create(&store, &record(1)).await;
    assert_eq!(store.load(record(1).handle, record(1).created_at).await.unwrap().live(), Some(record(1)));
    store.close().await;

    let refused = |config: RedisConfig| async move {
        let store = RedisStore::open(&config).unwrap();
        let error = store.ping().await.unwrap_err();
        store.close().await;
        error
    };
    let by_nobody = RedisConfig { tls_ca_file: None, ..good.clone() };
    let by_another = RedisConfig { tls_ca_file: Some(path("other.pem")), ..good.clone() };
    let without = RedisConfig { tls_certificate_file: None, tls_key_file: None, ..good.clone() };
    for config in [by_nobody, by_another, without] {
        assert!(matches!(refused(config).await, StoreError::Unavailable(_)));
    }
    let missing = refused(RedisConfig { tls_ca_file: Some(path("nothing.pem")), ..good.clone() }).await;
    assert!(missing.to_string().contains("nothing.pem"), "{missing}");
    let empty = refused(RedisConfig { tls_ca_file: Some(path("names")), ..good }).await;
    assert!(empty.to_string().contains("no certificate in"), "{empty}");
}

#[tokio::test]
async fn what_speaks_no_redis_is_an_outage() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.try_write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let store = RedisStore::open(&config(&address)).unwrap();
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(
        store.load(Handle::from([1; 12]), Timestamp::from_millis(0)).await,
        Err(StoreError::Unavailable(_))
    ));
    store.close().await;
}
