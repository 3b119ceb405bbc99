//! Histories with something going wrong meanwhile: briefly in the tests, for long in the soak.

use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::expiry::Late;
use super::{Limit, Load, Recorded, again, expiry};
use crate::clock::WallClock;
use crate::proxy::{Proxy, Weather};
use crate::pserve::{Pserve, Site, eventually};
use crate::races::ADMIN_KEY;
use crate::redis::{Cluster, KEPT, Redis};
use crate::standin::StandIn;
use crate::store::Store;
use crate::strace::Tracer;

/// Clients at a time, and sessions that they share: tens of clients meet in each.
const CLIENTS: u64 = 24;
const SESSIONS: usize = 3;

/// Nothing goes wrong.
pub fn quiet(store: Store, config: &Value, long: Duration) -> Recorded {
    let hosts = store.hosts(config, json!({}));
    Load::run(&addresses(&hosts), CLIENTS, SESSIONS, |_| sleep(long))
}

/// Ids of the clients' choice are used again and again, by users who may have a few sessions, if there is a limit.
pub fn again(store: Store, config: &Value, rule: Rule, long: Duration) -> Recorded {
    let hosts = store.hosts(config, rule.keys());
    again::run(&bases(&hosts), rule.limit(), || sleep(long))
}

/// How many sessions a user may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Any number.
    Any,
    /// So many; the oldest makes room.
    Evict(usize),
    /// So many; one more is refused.
    Reject(usize),
}

impl Rule {
    fn limit(self) -> Option<Limit> {
        match self {
            Self::Any => None,
            Self::Evict(limit) => Some(Limit { least: limit, most: limit, rejects: false }),
            Self::Reject(limit) => Some(Limit { least: limit, most: limit, rejects: true }),
        }
    }

    fn keys(self) -> Value {
        let (limit, on_limit) = match self {
            Self::Any => (0, "evict_oldest"),
            Self::Evict(limit) => (limit, "evict_oldest"),
            Self::Reject(limit) => (limit, "reject"),
        };
        json!({ "max_sessions_per_user": limit, "on_limit": on_limit, "admin_key": ADMIN_KEY })
    }
}

/// As [`again`], at two nodes whose clocks differ by so many seconds.
pub fn clocks(test: &str, store: Store, rule: Rule, ahead: i64, long: Duration) -> Option<Recorded> {
    let mut config = store.config(test)?;
    extend(&mut config, &rule.keys());
    let mut hosts = Vec::new();
    for offset in [0, ahead] {
        let site = Site::new();
        site.sessman(&config.to_string());
        let clock = WallClock::new(test, &site.path("clock"), offset)?;
        let pserve = site.try_start_with(&clock.environment());
        hosts.push((site, pserve.unwrap_or_else(|log| panic!("pserve did not start:\n{log}"))));
    }
    Some(again::run(&bases(&hosts), rule.limit(), || sleep(long)))
}

/// As [`again`], while reloads bring other rules, under which no session ends that is in use.
pub fn reloads(store: Store, config: &Value, rounds: usize, pause: Duration) -> Recorded {
    let others = [
        json!({ "session_ttl": 3_600 }),
        json!({ "max_sessions_per_user": 3 }),
        json!({ "idle_timeout": 1_800 }),
        json!({ "absolute_ttl": 7_200, "max_sessions_per_user": 2 }),
        json!({ "session_ttl": 86_400, "max_ttl": 86_400 }),
    ];
    let hosts = store.hosts(config, Rule::Evict(2).keys());
    again::run(&bases(&hosts), Some(Limit { least: 2, most: 3, rejects: false }), || {
        for round in 0..rounds {
            let mut config = config.clone();
            extend(&mut config, &Rule::Evict(2).keys());
            extend(&mut config, &others[round % others.len()]);
            for (site, pserve) in &hosts {
                site.write("sessman.json", config.to_string());
                pserve.signal(Signal::HUP);
            }
            sleep(pause);
        }
    })
}

/// Sessions run out of time, some of them renewed just before that, while a SQLite takes its time for every sync.
pub fn sqlite_expiry(rounds: usize) -> Recorded {
    let site = Site::new();
    site.sessman("{}");
    let pserve = site.start();
    let base = format!("http://{}", pserve.address());
    // In microseconds.
    let slow = Tracer::attach(pserve.pid(), "fdatasync:delay_enter=400000", "fdatasync");
    let recorded = expiry::run(&[base], rounds, Late::Refused, || sleep(Duration::from_millis(100)));
    drop(slow);
    recorded
}

/// As [`sqlite_expiry`], while a Redis takes no writes for a while, again and again.
pub fn redis_expiry(test: &str, rounds: usize) -> Option<Recorded> {
    let redis = Redis::start(test, &[])?;
    let hosts = Store::Redis.hosts(&redis.config(), json!({}));
    Some(expiry::run(&bases(&hosts), rounds, Late::Undone, || {
        redis.cli(&["CLIENT", "PAUSE", "600", "WRITE"]);
        sleep(Duration::from_millis(700));
    }))
}

/// As [`sqlite_expiry`], with a slow way from the node that writes to a MongoDB stand-in, and a fast one from another.
pub fn mongodb_expiry(test: &str, rounds: usize) -> Option<Recorded> {
    let mongo = StandIn::start(test, 0)?;
    let proxy = Proxy::to(mongo.port());
    let hosts: Vec<_> = [proxy.port(), mongo.port()]
        .into_iter()
        .map(|port| {
            let site = Site::new();
            site.sessman(&json!({ "server_url": format!("127.0.0.1:{port}") }).to_string());
            let pserve = site.start();
            (site, pserve)
        })
        .collect();
    is_back(&hosts);
    // A change is decided once its session was read, and comes to the server after that.
    proxy.set(Weather { delay: Duration::from_millis(120), ..Weather::default() });
    Some(expiry::run(&bases(&hosts), rounds, Late::Undone, || sleep(Duration::from_millis(100))))
}

fn bases(hosts: &[(Site, Pserve)]) -> Vec<String> {
    hosts.iter().map(|(_, pserve)| format!("http://{}", pserve.address())).collect()
}

fn extend(config: &mut Value, more: &Value) {
    if let (Some(config), Some(more)) = (config.as_object_mut(), more.as_object()) {
        config.extend(more.clone());
    }
}

fn addresses(hosts: &[(Site, Pserve)]) -> Vec<&str> {
    hosts.iter().map(|(_, pserve)| pserve.address()).collect()
}

/// `pserve` is killed while it writes to SQLite, and started again, so many times.
pub fn sqlite_killed(rounds: u32, long: Duration) -> Recorded {
    let site = Site::new();
    site.sessman("{}");
    let pserve = site.start();
    let address = pserve.address().to_owned();
    Load::run(&[&address], CLIENTS, SESSIONS, |hosts| {
        let mut pserve = pserve;
        for _ in 0..rounds {
            sleep(long);
            pserve.kill_9();
            pserve = site.start();
            hosts.set(&[pserve.address()]);
        }
        sleep(long);
    })
}

/// A single Redis that keeps what it answered is killed and started again, or stopped for a while, so many times.
pub fn redis(test: &str, rounds: u32, long: Duration) -> Option<Recorded> {
    let mut redis = Redis::start(test, KEPT)?;
    let config = json!({ "server_url": format!("redis://127.0.0.1:{}", redis.port()) });
    let hosts = Store::Redis.hosts(&config, json!({}));
    Some(Load::run(&addresses(&hosts), CLIENTS, SESSIONS, |_| {
        for round in 0..rounds {
            sleep(long);
            if round % 2 == 0 {
                redis.kill_9();
                sleep(long / 2);
                redis.start_again(KEPT);
            } else {
                redis.signal(Signal::STOP);
                sleep(long);
                redis.signal(Signal::CONT);
            }
            is_back(&hosts);
        }
        sleep(long);
    }))
}

/// A member of a Redis cluster is killed and started again, so many times.
pub fn redis_cluster(test: &str, rounds: u32, long: Duration) -> Option<Recorded> {
    let mut cluster = Cluster::start(test, KEPT)?;
    let config = json!({ "backend": "redis", "server_url": cluster.addresses() });
    let hosts = Store::RedisCluster.hosts(&config, json!({}));
    Some(Load::run(&addresses(&hosts), CLIENTS, SESSIONS, |_| {
        for round in 0..rounds as usize {
            sleep(long);
            let member = round % cluster.members.len();
            cluster.members[member].kill_9();
            sleep(long);
            cluster.start_again(member);
            is_back(&hosts);
        }
        sleep(long);
    }))
}

/// A MongoDB stand-in is stopped for a while, so many times. It keeps nothing when it is killed.
pub fn mongodb_stopped(test: &str, rounds: u32, long: Duration) -> Option<Recorded> {
    let mongo = StandIn::start(test, 0)?;
    let config = json!({ "server_url": format!("127.0.0.1:{}", mongo.port()) });
    let hosts = Store::MongoDb.hosts(&config, json!({}));
    Some(Load::run(&addresses(&hosts), CLIENTS, SESSIONS, |_| {
        for _ in 0..rounds {
            sleep(long);
            mongo.signal(Signal::STOP);
            sleep(long);
            mongo.signal(Signal::CONT);
            is_back(&hosts);
        }
        sleep(long);
    }))
}

fn is_back(hosts: &[(Site, Pserve)]) {
    for (_, pserve) in hosts {
        let client = pserve.client();
        eventually("service again", || client.post("/sessman/new", json!({})).status == 201);
    }
}
