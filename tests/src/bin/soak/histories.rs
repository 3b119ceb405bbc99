//! Histories of concurrent clients on every store, and while servers are killed and stopped.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use e2e::history::Recorded;
use e2e::history::faults::{self, Rule};
use e2e::store::Store;

const QUIET: Duration = Duration::from_secs(30);
/// Between two faults, and as long as one lasts.
const FAULT: Duration = Duration::from_secs(4);
const ROUNDS: u32 = 6;
/// With ids that are used again.
const AGAIN: Duration = Duration::from_secs(12);
const RELOADS: usize = 24;
/// Eight sessions each.
const EXPIRIES: usize = 8;
const STORES: [Store; 5] = [Store::Memory, Store::Sqlite, Store::MongoDb, Store::Redis, Store::RedisCluster];

pub(crate) fn run() -> ExitCode {
    let mut is_good = true;
    let mut show = |name: &str, record: &dyn Fn() -> Option<Recorded>| {
        let started = Instant::now();
        let Some(recorded) = record() else {
            println!("{name}: SKIPPED, there is none");
            is_good = false;
            return;
        };
        println!("{name}, {:.0} s: {recorded}", started.elapsed().as_secs_f64());
        for violation in recorded.violations.iter().take(3) {
            println!("  {violation}");
        }
        is_good &= recorded.violations.is_empty();
    };
    for store in STORES {
        show(&format!("{store:?}"), &|| Some(faults::quiet(store, &store.config("histories")?, QUIET)));
    }
    let test = "histories";
    for store in STORES {
        for rule in [Rule::Any, Rule::Evict(2), Rule::Reject(2)] {
            let name = format!("{store:?}, ids used again, {rule:?}");
            show(&name, &|| Some(faults::again(store, &store.config(test)?, rule, AGAIN)));
        }
        let name = format!("{store:?}, ids used again, reloads with other rules");
        show(&name, &|| Some(faults::reloads(store, &store.config(test)?, RELOADS, AGAIN / RELOADS as u32)));
    }
    for store in [Store::MongoDb, Store::Redis] {
        for rule in [Rule::Evict(2), Rule::Reject(2)] {
            let name = format!("{store:?}, ids used again, {rule:?}, clocks that differ by 15 s");
            show(&name, &|| faults::clocks(test, store, rule, 15, AGAIN));
        }
    }
    show("SQLite, sessions that run out of time while it is slow", &|| Some(faults::sqlite_expiry(EXPIRIES)));
    show("Redis, sessions that run out of time while it pauses", &|| faults::redis_expiry(test, EXPIRIES));
    show("MongoDB stand-in, sessions that run out of time while it is far", &|| {
        faults::mongodb_expiry(test, EXPIRIES)
    });
    show("SQLite, pserve killed", &|| Some(faults::sqlite_killed(ROUNDS * 4, FAULT / 4)));
    show("Redis killed and stopped", &|| faults::redis(test, ROUNDS, FAULT));
    show("Redis cluster, a member killed", &|| faults::redis_cluster(test, ROUNDS, FAULT));
    show("MongoDB stand-in stopped", &|| faults::mongodb_stopped(test, ROUNDS, FAULT));
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
