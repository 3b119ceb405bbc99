//! Histories with something going wrong meanwhile: briefly in the tests, for long in the soak.

use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Load, Recorded};
use crate::pserve::{Pserve, Site, eventually};
use crate::redis::{Cluster, KEPT, Redis};
use crate::standin::StandIn;
use crate::store::Store;

/// Clients at a time, and sessions that they share: tens of clients meet in each.
const CLIENTS: u64 = 24;
const SESSIONS: usize = 3;

/// Nothing goes wrong.
pub fn quiet(store: Store, config: &Value, long: Duration) -> Recorded {
    let hosts = store.hosts(config, json!({}));
    Load::run(&addresses(&hosts), CLIENTS, SESSIONS, |_| sleep(long))
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
