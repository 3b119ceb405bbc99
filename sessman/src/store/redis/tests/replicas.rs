//! Replicas are not read, as what they have may be old; what is no server of sessions says what to write instead.

use std::fs;
use std::sync::Arc;

use super::super::keys::Keys;
use super::members::{Cluster, SETTINGS, eventually, touch};
use super::server::{create, text};
use super::*;
use crate::id::SecretHash;
use crate::record::Change;
use crate::store::conformance::away::{freeze, record, thaw, wait_for};
use crate::store::{Store, StoreError, Target, Unless, Updated};

/// Why the store is not available.
fn cause(error: &StoreError) -> String {
    match error {
        StoreError::Unavailable(source) => source.to_string(),
        StoreError::Unusable(reason) => reason.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_a_replica_has_is_not_read_from_it() {
    let Some(server) = Server::start(&[]) else { return };
    let config = server.config();
    let store = RedisStore::open(&config).unwrap();
    let one = record(1);
    create(&store, &one).await;
    store.close().await;
    // Its master is not there, so that it learns of no session that ends.
    assert_eq!(server.cli(&["REPLICAOF", "127.0.0.1", "1"]), "OK");
    let store = RedisStore::open(&config).unwrap();
    let error = store.load(one.handle, one.created_at).await.unwrap_err();
    assert!(cause(&error).contains("is a replica") && cause(&error).contains(&server.address()), "{error:?}");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_becomes_a_replica_while_it_is_connected_is_read_no_more() {
    let Some(server) = Server::start(&[]) else { return };
    let store = RedisStore::open(&server.config()).unwrap();
    let one = record(1);
    create(&store, &one).await;
    assert_eq!(server.cli(&["REPLICAOF", "127.0.0.1", "1"]), "OK");
    // Nobody writes, so that no error of the server says it.
    let started = Instant::now();
    while store.load(one.handle, one.created_at).await.is_ok() {
        assert!(started.elapsed() < Duration::from_secs(60), "it goes on being read");
    }
    for _ in 0..100 {
        assert!(store.load(one.handle, one.created_at).await.is_err());
    }
    assert_eq!(server.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    wait_for(&store).await;
    assert_eq!(store.load(one.handle, one.created_at).await.unwrap().live(), Some(one));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_a_replica_refuses_do_not_make_a_connection_each() {
    let Some(server) = Server::start(&[]) else { return };
    let store = RedisStore::open(&server.config()).unwrap();
    create(&store, &record(1)).await;
    assert_eq!(server.cli(&["REPLICAOF", "127.0.0.1", "1"]), "OK");
    let connections = || {
        let info = server.cli(&["INFO", "stats"]);
        let count = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        count.unwrap().trim().parse::<u32>().unwrap()
    };
    let (before, started) = (connections(), Instant::now());
    for _ in 0..200 {
        let refused = store.delete(&[Target::whatever(record(1).handle)]).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    }
    // Those of this test, and one each 200 ms.
    let most = 3 + u32::try_from(started.elapsed().as_millis() / 200).unwrap();
    let made = connections() - before;
    assert!(made <= most, "{made} connections in {:?}", started.elapsed());
    store.close().await;
}

/// A member that became a replica sends everybody to its master, and so is not asked what it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_of_a_cluster_that_became_a_replica_is_not_read() {
    let Some(mut cluster) = Cluster::start() else { return };
    let store = RedisStore::open(&cluster.config).unwrap();
    let now = record(0).created_at;
    for n in 0..30 {
        create(&store, &record(n)).await;
    }
    let bus = free_port().to_string();
    let Some(replica) = Server::start(&[SETTINGS, &["--cluster-port", &bus]].concat()) else { return };
    let master = cluster.members[0].cli(&["CLUSTER", "MYID"]);
    let mut join = Command::new("redis-cli");
    join.args(["--cluster", "add-node", &replica.address(), &cluster.members[0].address()]);
    join.args(["--cluster-slave", "--cluster-master-id", &master]).stdout(Stdio::null());
    assert!(join.status().unwrap().success());
    eventually(|| replica.cli(&["INFO", "replication"]).contains("master_link_status:up"));
    let moved: Vec<u8> = (0..30).filter(|n| cluster.member_of(record(*n).handle) == 0).collect();
    assert!(!moved.is_empty());
    assert_eq!(replica.cli(&["CLUSTER", "FAILOVER"]), "OK");
    eventually(|| cluster.members[0].cli(&["INFO", "replication"]).contains("role:slave"));

    // Another process ends one of them at the new master, and the old one never hears of it.
    freeze(&cluster.members[0].child);
    let other = RedisStore::open(&RedisConfig {
        server_url: Secret::new(replica.address()),
        ..cluster.config.clone()
    });
    let other = other.unwrap();
    assert_eq!(other.delete(&[Target::whatever(record(moved[0]).handle)]).await.unwrap().len(), 1);
    other.close().await;
    thaw(&cluster.members[0].child);
    assert_eq!(store.load(record(moved[0]).handle, now).await.unwrap().live(), None);
    for n in &moved[1..] {
        assert_eq!(store.load(record(*n).handle, now).await.unwrap().live(), Some(record(*n)));
    }
    let refused = cluster.members[0].cli(&["GET", "foo"]);
    assert!(refused.contains("MOVED"), "{refused}");
    store.close().await;
    cluster.members.push(replica);
}

#[tokio::test]
async fn the_address_of_a_sentinel_is_refused_with_that_of_its_server() {
    let Some(server) = Server::start(&[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (file, port) = (folder.path().join("sentinel.conf"), free_port());
    let watched = format!("sentinel monitor mymaster 127.0.0.1 {} 1\n", server.port);
    fs::write(&file, format!("port {port}\nbind 127.0.0.1\ndir {}\n{watched}", folder.path().display()))
        .unwrap();
    let mut sentinel = Command::new("redis-server");
    let sentinel = sentinel.arg(&file).arg("--sentinel").stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    let sentinel = Server { child: sentinel.unwrap(), port, folder };
    eventually(|| sentinel.cli(&["PING"]) == "PONG");
    let password = Some(Secret::new("hidden"));
    for config in [sentinel.config(), RedisConfig { password, ..sentinel.config() }] {
        let store = RedisStore::open(&config).unwrap();
        let error = store.ping().await.unwrap_err();
        let said = cause(&error);
        assert!(
            said.starts_with(&format!("{} is a Redis Sentinel", sentinel.address()))
                && said.contains(&format!("now {}", server.address())),
            "{said}"
        );
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_the_server_is_named() {
    let Some(mut server) = Server::start(&["--requirepass", "hidden"]) else { return };
    let right = RedisConfig { password: Some(Secret::new("hidden")), ..server.config() };
    let wrong = RedisStore::open(&server.config()).unwrap();
    let store = RedisStore::open(&right).unwrap();
    wait_for(&store).await;
    let names_it = |error: StoreError, what: &str| {
        let said = cause(&error);
        assert!(said.contains(&server_address(&right)) && said.contains(what), "{said}");
        assert!(!said.contains("hidden"), "{said}");
    };
    names_it(wrong.ping().await.unwrap_err(), "did not accept the login");
    freeze(&server.child);
    names_it(store.ping().await.unwrap_err(), "gave no answer in time");
    server.kill();
    let handle = record(1).handle;
    let error = store.load(handle, record(1).created_at).await.unwrap_err();
    // Before it is tried again it is the reason from before.
    assert!(cause(&error).contains(&server_address(&right)), "{error:?}");
    wrong.close().await;
    store.close().await;
}

fn server_address(config: &RedisConfig) -> String {
    config.server_url.expose().to_owned()
}

/// A master and a replica of it, and a store that waits for the replica.
fn replicated() -> Option<(Server, Server, RedisConfig)> {
    let master = Server::start(&[])?;
    let replica = Server::start(&["--replicaof", "127.0.0.1", &master.port.to_string()])?;
    eventually(|| replica.cli(&["INFO", "replication"]).contains("master_link_status:up"));
    let config = RedisConfig { wait_replicas: 1, ..master.config() };
    Some((master, replica, config))
}

/// How often a command was executed.
fn executed(server: &Server, command: &str) -> u32 {
    let stats = server.cli(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_and_a_new_id_are_answered_once_a_replica_has_them() {
    let Some((master, replica, config)) = replicated() else { return };
    let store = RedisStore::open(&config).unwrap();
    for n in 0..20 {
        let one = record(n);
        create(&store, &one).await;
        let secret_hash = SecretHash::from([n; 32]);
        let change = Change { secret_hash: Some(secret_hash), ..touch(&one) };
        let updated = store.update(&one, Unless::Gone, &change).await.unwrap();
        assert!(matches!(updated, Updated::Done { .. }));
        assert_eq!(
            store
                .delete(&[Target { secret_hash: Some(secret_hash), ..Target::whatever(one.handle) }])
                .await
                .unwrap()
                .len(),
            1
        );
        let key = text(Keys::new(&config.prefix).session(one.handle));
        assert_eq!(replica.cli(&["EXISTS", &key]), "0", "an answered end is on the replica");
    }
    assert!(executed(&master, "wait") >= 40);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_replica_has_is_done_and_says_so_and_holds_up_nobody_else() {
    let Some((_master, replica, config)) = replicated() else { return };
    let store = Arc::new(RedisStore::open(&config).unwrap());
    let now = record(0).created_at;
    for n in 0..50 {
        create(&store, &record(n)).await;
    }
    freeze(&replica.child);
    let begun = Instant::now();
    let ends: Vec<_> = (0..40)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.delete(&[Target::whatever(record(n).handle)]).await })
        })
        .collect();
    tokio::task::yield_now().await;
    for n in 40..50 {
        assert_eq!(store.load(record(n).handle, now).await.unwrap().live(), Some(record(n)));
        let (one, change) = (record(n), touch(&record(n)));
        let updated = store.update(&one, Unless::Gone, &change).await;
        assert!(matches!(updated.unwrap(), Updated::Done { .. }));
    }
    assert!(ends.iter().all(|end| !end.is_finished()), "they wait for the replica, the others did not");
    for end in ends {
        let error = end.await.unwrap().unwrap_err();
        let StoreError::NotReplicated(source) = &error else { panic!("{error:?}") };
        assert!(source.to_string().contains("0 of 1 replicas"), "{source}");
    }
    assert!(begun.elapsed() < super::super::servers::CALL_LIMIT);
    for n in 0..40 {
        assert_eq!(store.load(record(n).handle, now).await.unwrap().live(), None, "it is done");
    }
    // Doing it again does not make it more than it is.
    assert!(matches!(
        store.delete(&[Target::whatever(record(0).handle)]).await,
        Err(StoreError::NotReplicated(_))
    ));
    thaw(&replica.child);
    eventually(|| replica.cli(&["INFO", "replication"]).contains("master_link_status:up"));
    assert_eq!(store.delete(&[Target::whatever(record(49).handle)]).await.unwrap().len(), 1);
    store.close().await;
}

#[tokio::test]
async fn a_login_that_may_not_wait_says_so() {
    let Some((master, _replica, config)) = replicated() else { return };
    assert_eq!(master.cli(&["ACL", "SETUSER", "ada", "on", ">p", "~*", "+@all", "-wait"]), "OK");
    let login = |config: RedisConfig| RedisConfig {
        username: Some("ada".into()),
        password: Some(Secret::new("p")),
        ..config
    };
    let store = RedisStore::open(&login(config)).unwrap();
    create(&store, &record(1)).await;
    let error = store.delete(&[Target::whatever(record(1).handle)]).await.unwrap_err();
    assert!(cause(&error).contains("allow the user WAIT"), "{error:?}");
    store.close().await;
}

#[tokio::test]
async fn a_master_whose_replicas_need_not_be_there_is_warned_of() {
    let Some((master, _replica, config)) = replicated() else { return };
    let shows = async |line: &str| {
        let store = RedisStore::open(&config).unwrap();
        wait_for(&store).await;
        // It is asked by a task of its own.
        let started = Instant::now();
        while !store.metrics().contains(line) {
            assert!(started.elapsed() < Duration::from_secs(60), "{}", store.metrics());
            store.ping().await.unwrap();
        }
        store.close().await;
    };
    shows(r#"sessman_redis_hazards{hazard="answers_alone"} 1"#).await;
    assert_eq!(master.cli(&["CONFIG", "SET", "min-replicas-to-write", "1"]), "OK");
    shows(r#"sessman_redis_hazards{hazard="no_append_only_file"} 1"#).await;
    assert_eq!(
        super::super::hazards::found_in(&master.cli(&["INFO"])),
        [super::super::hazards::Hazard::NoAppendOnlyFile]
    );
}
