//! Stores killed, stopped, slowed and cut off under constant load: what clients are answered, and what is kept.

use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use e2e::faults::{BACK, DEADLINE, Host, Seen, under_load};
use e2e::proxy::{Proxy, Weather};
use e2e::pserve::Site;
use e2e::redis::{Cluster, KEPT, Redis};
use e2e::standin::StandIn;
use rustix::process::Signal;
use serde_json::{Value, json};

const BEFORE: Duration = Duration::from_secs(4);
const FAULT: Duration = Duration::from_secs(10);
const DOWN: Duration = Duration::from_secs(3);
const TEST: &str = "faults";

/// The rows of the table.
struct Table {
    is_good: bool,
}

pub(crate) fn run() -> ExitCode {
    println!(
        "| store | fault | requests | 2xx | 503 | no answer | others | longest | lost | back after | memory |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut table = Table { is_good: true };
    table.mongodb();
    table.redis();
    table.cluster();
    table.sqlite();
    if table.is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Table {
    fn row(&mut self, store: &str, fault: &str, seen: &Seen, is_good: bool) {
        println!("| {store} | {fault} | {seen} |");
        for (what, count) in &seen.others {
            println!("  others: {what}: {count}");
        }
        self.is_good &= is_good;
        if !is_good {
            println!("  NOT GOOD");
        }
    }

    fn missing(&mut self, store: &str) {
        println!("{store}: SKIPPED, there is none");
        self.is_good = false;
    }

    /// What may befall the way to a server.
    fn network(&mut self, store: &str, proxy: &Proxy, config: &Value) {
        let (_site, host) = serve(config);
        let slow = Weather { delay: Duration::from_millis(100), bytes_per_second: Some(64 << 10) };
        let stuck = Weather { delay: Duration::from_secs(3), ..Weather::default() };
        for (fault, weather) in [("100 ms more each way, 64 KiB/s", slow), ("3 s more each way", stuck)] {
            let seen = under_load(
                &host,
                BEFORE,
                || {
                    proxy.set(weather);
                    sleep(FAULT);
                    proxy.set(Weather::default());
                },
                BACK,
            );
            self.row(store, fault, &seen, seen.is_good());
        }
        let reset = || {
            let until = Instant::now() + FAULT;
            while Instant::now() < until {
                proxy.reset();
                sleep(Duration::from_millis(200));
            }
        };
        let seen = under_load(&host, BEFORE, reset, BACK);
        self.row(store, "connections reset, 5 times a second", &seen, seen.is_good());
    }

    fn mongodb(&mut self) {
        const STORE: &str = "MongoDB stand-in";
        let Some(mongo) = StandIn::start(TEST, 0) else { return self.missing(STORE) };
        let port = mongo.port();
        let proxy = Proxy::to(port);
        let config = json!({ "server_url": format!("127.0.0.1:{}", proxy.port()) });
        self.network(STORE, &proxy, &config);
        let (_site, host) = serve(&config);
        let stop = || {
            mongo.signal(Signal::STOP);
            sleep(FAULT);
            mongo.signal(Signal::CONT);
        };
        let seen = under_load(&host, BEFORE, stop, BACK);
        self.row(STORE, "stopped for 10 s", &seen, seen.is_good());
        let (mut old, mut new) = (Some(mongo), None);
        let kill = || {
            drop(old.take());
            sleep(DOWN);
            new = StandIn::start(TEST, port);
        };
        let seen = under_load(&host, BEFORE, kill, BACK);
        // It keeps nothing: what it had is not found, which is the right answer.
        let is_right = seen.others.keys().all(|what| what.ends_with(": 404"));
        let is_good = is_right && seen.longest < DEADLINE && seen.back < BACK;
        self.row(STORE, "killed and started again, empty", &seen, is_good);
    }

    fn redis(&mut self) {
        const STORE: &str = "Redis, appendfsync always";
        let Some(mut redis) = Redis::start(TEST, KEPT) else { return self.missing(STORE) };
        let proxy = Proxy::to(redis.port());
        let config = json!({ "server_url": format!("redis://127.0.0.1:{}", proxy.port()) });
        self.network(STORE, &proxy, &config);
        let (_site, host) = serve(&config);
        let stop = || {
            redis.signal(Signal::STOP);
            sleep(FAULT);
            redis.signal(Signal::CONT);
        };
        let seen = under_load(&host, BEFORE, stop, BACK);
        self.row(STORE, "stopped for 10 s", &seen, seen.is_good());
        let kill = || {
            redis.kill_9();
            sleep(DOWN);
            redis.start_again(KEPT);
        };
        let seen = under_load(&host, BEFORE, kill, BACK);
        self.row(STORE, "killed and started again", &seen, seen.is_good());
    }

    fn cluster(&mut self) {
        const STORE: &str = "Redis cluster of three, appendfsync always";
        let Some(mut cluster) = Cluster::start(TEST, KEPT) else { return self.missing(STORE) };
        let (_site, host) = serve(&json!({ "backend": "redis", "server_url": cluster.addresses() }));
        let stop = || {
            cluster.members[1].signal(Signal::STOP);
            sleep(FAULT);
            cluster.members[1].signal(Signal::CONT);
        };
        let seen = under_load(&host, BEFORE, stop, BACK);
        self.row(STORE, "a member stopped for 10 s", &seen, seen.is_good());
        let kill = || {
            cluster.members[2].kill_9();
            sleep(FAULT);
            cluster.start_again(2);
        };
        let seen = under_load(&host, BEFORE, kill, BACK);
        self.row(STORE, "a member killed and started again", &seen, seen.is_good());
    }

    fn sqlite(&mut self) {
        let site = Site::new();
        site.sessman("{}");
        let host = Host::new(Some(site.start()));
        let kill = || {
            let pserve = host.write().expect("no client panicked").take();
            pserve.expect("it runs").kill_9();
            *host.write().expect("no client panicked") = Some(site.start());
        };
        let seen = under_load(&host, BEFORE, kill, BACK);
        self.row("SQLite", "pserve killed and started again", &seen, seen.is_good());
    }
}

fn serve(config: &Value) -> (Site, Host) {
    let site = Site::new();
    site.sessman(&config.to_string());
    let host = Host::new(Some(site.start()));
    (site, host)
}
