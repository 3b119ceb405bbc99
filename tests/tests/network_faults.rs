//! A network to the store that becomes slow, gets stuck and breaks, under load; and a member of a cluster that dies.
//! `cargo xtask soak faults` does all of it for longer, and prints what came.

use std::thread::sleep;
use std::time::Duration;

use e2e::faults::{Host, Seen, under_load};
use e2e::proxy::{Proxy, Weather};
use e2e::pserve::Site;
use e2e::redis::{Cluster, KEPT, Redis};
use e2e::standin::StandIn;
use serde_json::{Value, json};

const QUIET: Duration = Duration::from_secs(1);
/// Longer than a store call may take, so that some fail.
const STUCK: Duration = Duration::from_secs(4);
/// In which the service must be whole again, and stay so.
const AFTER: Duration = Duration::from_secs(8);

fn host(config: &Value) -> (Site, Host) {
    let site = Site::new();
    site.sessman(&config.to_string());
    let host = Host::new(Some(site.start()));
    (site, host)
}

fn is_right(seen: &Seen) {
    eprintln!("{seen}");
    assert!(seen.is_good() && seen.unanswered == 0, "{seen:?}");
    assert!(seen.good > 100 && seen.away > 0, "there was load, and a fault: {seen:?}");
    assert!(seen.back < AFTER - QUIET, "{seen:?}");
}

fn survives_a_bad_network(config: &Value, proxy: &Proxy) {
    let (_site, host) = host(config);
    let fault = || {
        let delay = Duration::from_millis(50);
        proxy.set(Weather { delay, bytes_per_second: Some(64 << 10) });
        sleep(QUIET);
        proxy.set(Weather { delay: STUCK, ..Weather::default() });
        sleep(STUCK);
        proxy.set(Weather::default());
        for _ in 0..5 {
            proxy.reset();
            sleep(QUIET / 5);
        }
    };
    is_right(&under_load(&host, QUIET, fault, AFTER));
}

#[test]
fn redis_behind_a_bad_network_is_a_503_in_time_and_nothing_answered_is_lost() {
    let Some(redis) = Redis::start("redis_behind_a_bad_network", KEPT) else { return };
    let proxy = Proxy::to(redis.port());
    survives_a_bad_network(&json!({ "server_url": format!("redis://127.0.0.1:{}", proxy.port()) }), &proxy);
}

#[test]
fn mongodb_behind_a_bad_network_is_a_503_in_time_and_nothing_answered_is_lost() {
    let Some(mongo) = StandIn::start("mongodb_behind_a_bad_network", 0) else { return };
    let proxy = Proxy::to(mongo.port());
    survives_a_bad_network(&json!({ "server_url": format!("127.0.0.1:{}", proxy.port()) }), &proxy);
}

#[test]
fn a_member_of_a_cluster_that_dies_and_comes_back_loses_nothing_answered() {
    let Some(mut cluster) = Cluster::start("a_member_of_a_cluster_that_dies", KEPT) else { return };
    let (_site, host) = host(&json!({ "backend": "redis", "server_url": cluster.addresses() }));
    let fault = || {
        cluster.members[0].kill_9();
        sleep(STUCK);
        cluster.start_again(0);
    };
    is_right(&under_load(&host, QUIET, fault, AFTER));
}
