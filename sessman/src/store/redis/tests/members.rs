//! A cluster of a test's own, whose members die and hand keys over.

use super::super::keys::Keys;
use super::super::servers::{CALL_LIMIT, deadline};
use super::*;
use crate::id::Handle;
use crate::record::{Change, Record, Times};
use crate::store::conformance::away::{freeze, record, thaw, wait_for};
use crate::store::{Claim, Claimed, Created, Store, StoreError, Unless, Updated};

pub(super) struct Cluster {
    pub(super) members: Vec<Server>,
    pub(super) config: RedisConfig,
}

pub(super) const SETTINGS: &[&str] =
    &["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no"];

impl Cluster {
    /// Starts three masters; the store is told of one of them.
    pub(super) fn start() -> Option<Self> {
        let mut members = Vec::new();
        for _ in 0..3 {
            // Nothing else is known to be free, so far above the port of the server itself.
            let bus = free_port().to_string();
            members.push(Server::start(&[SETTINGS, &["--cluster-port", &bus]].concat())?);
        }
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create"]).args(members.iter().map(Server::address));
        create.args(["--cluster-replicas", "0", "--cluster-yes"]).stdout(Stdio::null());
        assert!(create.status().unwrap().success());
        for member in &members {
            while !member.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok") {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        let config = members[0].config();
        Some(Self { members, config })
    }

    fn key(&self, handle: Handle) -> String {
        String::from_utf8(Keys::new(&self.config.prefix).session(handle)).unwrap()
    }

    /// Which member has a session.
    pub(super) fn member_of(&self, handle: Handle) -> usize {
        let key = self.key(handle);
        let mut has = self.members.iter().map(|member| member.cli(&["EXISTS", &key]) == "1");
        has.position(|has| has).unwrap()
    }
}

pub(super) fn eventually(mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(60), "never");
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(super) fn touch(record: &Record) -> Change {
    let at = record.created_at.after(Duration::from_millis(1));
    Change::touch(at, Times { reset_at: at, last_activity: at, expires_at: record.expires_at })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_found_while_it_moves_to_another_member_and_after() {
    let Some(cluster) = Cluster::start() else { return };
    let store = RedisStore::open(&cluster.config).unwrap();
    let (one, now) = (record(1), record(1).created_at);
    assert_eq!(store.create(one.clone(), now).await.unwrap(), Created::Yes);
    let from = &cluster.members[cluster.member_of(one.handle)];
    let to = cluster.members.iter().find(|member| member.port != from.port).unwrap();
    let key = cluster.key(one.handle);
    let slot = from.cli(&["CLUSTER", "KEYSLOT", &key]);
    let (from_id, to_id) = (from.cli(&["CLUSTER", "MYID"]), to.cli(&["CLUSTER", "MYID"]));
    assert_eq!(to.cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]), "OK");
    assert_eq!(from.cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]), "OK");
    // Not moved yet.
    assert_eq!(store.load(one.handle, now).await.unwrap().live(), Some(one.clone()));
    let port = to.port.to_string();
    assert_eq!(from.cli(&["MIGRATE", "127.0.0.1", &port, &key, "0", "5000"]), "OK");
    // The slot is not there yet, but the key is: the old member says whom to ask.
    assert_eq!(store.load(one.handle, now).await.unwrap().live(), Some(one.clone()));
    let updated = store.update(&one, Unless::Gone, &touch(&one)).await.unwrap();
    assert!(matches!(updated, Updated::Done { .. }), "{updated:?}");
    assert_eq!(store.create(one.clone(), now).await.unwrap(), Created::Exists);
    for member in &cluster.members {
        member.cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
    }
    for _ in 0..5 {
        let Some(found) = store.load(one.handle, now).await.unwrap().live() else { panic!("it is gone") };
        assert_eq!(found.last_activity, touch(&one).now);
    }
    assert!(delete(&store, Target::incarnation(one.handle, one.mark)).await);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_dies_takes_its_own_keys_alone_and_brings_them_back() {
    let Some(mut cluster) = Cluster::start() else { return };
    let store = RedisStore::open(&cluster.config).unwrap();
    let now = record(0).created_at;
    for n in 0..30 {
        assert_eq!(store.create(record(n), now).await.unwrap(), Created::Yes);
    }
    // The one that the store was told of: it must not be needed for the others' keys.
    let (lost, kept): (Vec<u8>, Vec<u8>) = (0..30).partition(|n| cluster.member_of(record(*n).handle) == 0);
    assert!(!lost.is_empty() && kept.len() > 10, "{lost:?}");
    cluster.members[0].kill();
    for n in &kept {
        assert_eq!(store.load(record(*n).handle, now).await.unwrap().live(), Some(record(*n)));
    }
    for n in lost.iter().take(3) {
        let started = Instant::now();
        let error = store.load(record(*n).handle, now).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        assert!(started.elapsed() < Duration::from_secs(2));
    }
    // A part of the sessions is not all of them.
    assert!(matches!(store.counts(now, &[]).await, Err(StoreError::Unavailable(_))));

    // Its bus port is written down beside its slots.
    cluster.members[0].start_again(SETTINGS);
    let started = Instant::now();
    while store.create(record(lost[0]), now).await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(15), "the member is not used again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // It kept nothing: the others' sessions are all there is but the one that was made again. Their names were partly on
    // it, too.
    store.tidy(now).await.unwrap();
    assert_eq!(store.counts(now, &[]).await.unwrap().active, kept.len() as u64 + 1);
    store.close().await;
}

#[tokio::test]
async fn several_servers_that_are_no_cluster_are_refused() {
    let (Some(a), Some(b)) = (Server::start(&[]), Server::start(&[])) else { return };
    let store = RedisStore::open(&config(&format!("{},{}", a.address(), b.address()))).unwrap();
    let error = store.ping().await.unwrap_err();
    assert!(matches!(&error, StoreError::Unusable(reason) if reason.contains("no cluster")), "{error:?}");
    store.close().await;
}

#[tokio::test]
async fn a_server_without_another_database_is_refused() {
    let Some(server) = Server::start(&["--databases", "2"]) else { return };
    for (number, is_there) in [("1", true), ("2", false)] {
        let store =
            RedisStore::open(&RedisConfig { database: Some(number.into()), ..server.config() }).unwrap();
        match store.ping().await {
            Ok(()) => assert!(is_there),
            Err(error) => assert!(!is_there && error.to_string().contains("database 2"), "{error:?}"),
        }
        store.close().await;
    }
}

/// Keys of a session: its own, and those of its names.
struct Homes {
    session: usize,
    index: usize,
    names: usize,
}

impl Cluster {
    /// Which member has a key, by its slot.
    fn home(&self, key: Vec<u8>) -> usize {
        let slot: u32 = self.slot(key).parse().unwrap();
        // The first lines of the answer are the first and the last slot of a range, and who has it.
        let mut has = self.members.iter().map(|member| {
            let myself = member.cli(&["CLUSTER", "NODES"]);
            let myself = myself.lines().find(|line| line.contains("myself")).unwrap().to_owned();
            let range = myself.rsplit(' ').next().unwrap().to_owned();
            let (first, last) = range.split_once('-').unwrap();
            (first.parse::<u32>().unwrap()..=last.parse().unwrap()).contains(&slot)
        });
        has.position(|has| has).unwrap()
    }

    fn slot(&self, key: Vec<u8>) -> String {
        self.members[0].cli(&["CLUSTER", "KEYSLOT", &String::from_utf8(key).unwrap()])
    }

    fn homes(&self, record: &Record) -> Homes {
        let keys = Keys::new(&self.config.prefix);
        Homes {
            session: self.home(keys.session(record.handle)),
            index: self.home(keys.index(record.handle.as_bytes()[0])),
            names: self.home(keys.names(record.user_id.as_deref().unwrap())),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_is_answered_though_the_member_that_has_its_names_hangs() {
    let Some(cluster) = Cluster::start() else { return };
    let store = RedisStore::open(&cluster.config).unwrap();
    let records: Vec<_> = (1..60).map(record).collect();
    let is_wanted = |homes: &Homes| homes.session != homes.names && homes.session != homes.index;
    let wanted = records.iter().find(|record| is_wanted(&cluster.homes(record)));
    let one = wanted.expect("one of them has its names elsewhere");
    for record in &records {
        assert_eq!(store.create(record.clone(), record.created_at).await.unwrap(), Created::Yes);
    }
    let Homes { session, index, names } = cluster.homes(one);
    let other =
        records.iter().find(|other| other.handle != one.handle && cluster.homes(other).session == session);
    let other = other.expect("another one is at the same member");
    for (record, frozen) in [(one, index), (other, names)] {
        freeze(&cluster.members[frozen].child);
        let started = Instant::now();
        let deleted = delete(&store, Target::incarnation(record.handle, record.mark)).await;
        let took = started.elapsed();
        thaw(&cluster.members[frozen].child);
        assert!(deleted);
        assert!(took < CALL_LIMIT, "it waited until the other member was given up");
        assert!(store.load(record.handle, record.created_at).await.unwrap().live().is_none());
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_session_goes_together_with_the_names_that_its_member_has() {
    let Some(cluster) = Cluster::start() else { return };
    let store = RedisStore::open(&cluster.config).unwrap();
    let together = (1..=255).map(record).find(|record| {
        let Homes { session, index, names } = cluster.homes(record);
        session == index && index == names
    });
    let one = together.expect("one of them has all keys at one member");
    let member = &cluster.members[cluster.homes(&one).session];
    let reads = || {
        let stats = member.cli(&["INFO", "stats"]);
        let line = stats.lines().find_map(|line| line.strip_prefix("total_reads_processed:"));
        line.unwrap().trim().parse::<u32>().unwrap()
    };
    // The connection is made, and the scripts are there.
    store.load(one.handle, one.created_at).await.unwrap();
    // Members speak with each other on connections that are not counted; asking is.
    let asking = {
        let before = reads();
        reads() - before
    };
    let before = reads();
    assert_eq!(store.create(one.clone(), one.created_at).await.unwrap(), Created::Yes);
    assert_eq!(reads() - before, asking + 1, "one piece, read once");
    assert_eq!(store.load(one.handle, one.created_at).await.unwrap().live(), Some(one));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_hangs_is_named_and_takes_no_calls_of_the_others() {
    let Some(cluster) = Cluster::start() else { return };
    let config =
        RedisConfig { server_url: Secret::new(cluster.members[1].address()), ..cluster.config.clone() };
    let store = Arc::new(RedisStore::open(&config).unwrap());
    let now = record(0).created_at;
    for n in 0..30 {
        assert_eq!(store.create(record(n), now).await.unwrap(), Created::Yes);
    }
    store.ping().await.unwrap();
    let (sick, well): (Vec<u8>, Vec<u8>) = (0..30).partition(|n| cluster.member_of(record(*n).handle) == 0);
    // Hanging for less than it takes the others to notice, more calls wait for it than may be under way at once.
    freeze(&cluster.members[0].child);
    let waiting: Vec<_> = (0..1_200)
        .map(|n| {
            let (store, handle) = (store.clone(), record(sick[n % sick.len()]).handle);
            tokio::spawn(async move { store.load(handle, now).await })
        })
        .collect();
    tokio::task::yield_now().await;
    for n in &well {
        assert_eq!(store.load(record(*n).handle, now).await.unwrap().live(), Some(record(*n)));
    }
    assert!(!waiting.iter().all(tokio::task::JoinHandle::is_finished), "they wait, and others were served");
    for waiting in waiting {
        assert!(matches!(waiting.await.unwrap(), Err(StoreError::Unavailable(_))));
    }
    let error = store.ping().await.unwrap_err();
    let StoreError::Partial(source) = &error else { panic!("{error:?}") };
    let said = source.to_string();
    assert!(said.starts_with(&cluster.members[0].address()), "{said}");
    assert!((1..3).all(|other| !said.contains(&cluster.members[other].address())), "{said}");
    // Who asks for what it has does not wait for it as long as the one that tries it.
    let (handle, begun) = (record(sick[0]).handle, Instant::now());
    let calls: Vec<_> = (0..50).map(|_| store.load(handle, now)).collect();
    let late = futures_util::future::join_all(calls.into_iter().map(|call| async {
        assert!(call.await.is_err());
        begun.elapsed() > Duration::from_millis(1_000)
    }));
    assert!(late.await.into_iter().filter(|late| *late).count() <= 1);
    let keys = Keys::new(&config.prefix);
    let is_suffering = |n: u8| store.servers.is_suffering(&keys.session(record(n).handle));
    assert!(is_suffering(sick[0]) && !is_suffering(well[0]));
    let shown = |value: u8, n: usize| {
        let server = cluster.members[n].address();
        store.metrics().contains(&format!("sessman_redis_server_answers{{server=\"{server}\"}} {value}"))
    };
    assert!(shown(0, 0) && shown(1, 1) && shown(1, 2), "{}", store.metrics());

    thaw(&cluster.members[0].child);
    wait_for(&*store).await;
    assert!(!is_suffering(sick[0]) && shown(1, 0));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_users_places_are_where_their_names_are_whatever_their_id() {
    let Some(cluster) = Cluster::start() else { return };
    let store = RedisStore::open(&cluster.config).unwrap();
    let keys = Keys::new(&cluster.config.prefix);
    let in_braces = format!("{{{}:u:ada}}", cluster.config.prefix);
    let users = ["ada", "{", "}", "{}", "a{b}c", "a}b", "}ada", "\u{fc}", &in_braces];
    for (n, user_id) in (1..).zip(users) {
        let handle = record(n).handle;
        let claim = Claim { user_id, handle, room: Some(1), moves_last: false, earlier: Some(&[]) };
        assert_eq!(store.claim(claim).await.unwrap(), Claimed::Done(vec![handle]), "{user_id}");
        let [names, places] = [keys.names(user_id), keys.places(user_id, true)].map(|key| cluster.slot(key));
        // Theirs cannot be there: see `keys`.
        assert_eq!(names == places, !["}", "{}", "a}b", "}ada"].contains(&user_id), "{user_id}");
    }
    // What a version before wrote there: nobody reads it any more, and it goes.
    let before = format!("{}:p:ada", cluster.config.prefix);
    let home = &cluster.members[cluster.home(before.clone().into())];
    home.cli(&["RPUSH", &before, &record(99).handle.to_string()]);
    let found = async || {
        let page = store.all_places(None, 1_000).await.unwrap();
        assert_eq!(page.next, None);
        let mut found: Vec<_> =
            page.users.into_iter().map(|places| (places.user_id, places.handles)).collect();
        found.sort();
        found
    };
    let mut expected: Vec<_> =
        (1..).zip(users).map(|(n, user)| (user.to_owned(), vec![record(n).handle])).collect();
    expected.sort();
    assert_eq!(found().await, expected);
    store.tidy(record(1).created_at).await.unwrap();
    assert_eq!(home.cli(&["EXISTS", &before]), "0");
    assert_eq!(found().await, expected);
    for (n, user_id) in (1..).zip(users) {
        store.release(user_id, &[record(n).handle]).await.unwrap();
    }
    assert_eq!(found().await, []);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_for_members_that_answer_have_their_answers() {
    let Some(mut cluster) = Cluster::start() else { return };
    let config =
        RedisConfig { server_url: Secret::new(cluster.members[1].address()), ..cluster.config.clone() };
    let store = RedisStore::open(&config).unwrap();
    let now = record(0).created_at;
    for n in 0..30 {
        assert_eq!(store.create(record(n), now).await.unwrap(), Created::Yes);
    }
    let lost: Vec<u8> = (0..30).filter(|n| cluster.member_of(record(*n).handle) == 0).collect();
    cluster.members[0].kill();
    let keys = Keys::new(&config.prefix);
    let get = |n: u8| {
        let key = keys.session(record(n).handle);
        let mut command = redis::cmd("GET");
        command.arg(&key);
        (key, command)
    };
    let commands: Vec<_> = (0..30).map(get).collect();
    let answers = store.servers.call_each_apart(&commands, deadline()).await.unwrap();
    for (n, answer) in (0..30).zip(answers) {
        assert_eq!(answer.is_err(), lost.contains(&n), "{n}: {answer:?}");
        assert_eq!(
            store.servers.are_together(&commands[usize::from(n)].0, &commands[usize::from(lost[0])].0),
            lost.contains(&n)
        );
    }
    store.close().await;
}
