//! Histories of concurrent clients on every store, and while servers are killed and stopped.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use e2e::history::{Recorded, faults};
use e2e::store::Store;

const QUIET: Duration = Duration::from_secs(30);
/// Between two faults, and as long as one lasts.
const FAULT: Duration = Duration::from_secs(4);
const ROUNDS: u32 = 6;

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
    for store in [Store::Memory, Store::Sqlite, Store::MongoDb, Store::Redis, Store::RedisCluster] {
        show(&format!("{store:?}"), &|| Some(faults::quiet(store, &store.config("histories")?, QUIET)));
    }
    let test = "histories";
    show("SQLite, pserve killed", &|| Some(faults::sqlite_killed(ROUNDS * 4, FAULT / 4)));
    show("Redis killed and stopped", &|| faults::redis(test, ROUNDS, FAULT));
    show("Redis cluster, a member killed", &|| faults::redis_cluster(test, ROUNDS, FAULT));
    show("MongoDB stand-in stopped", &|| faults::mongodb_stopped(test, ROUNDS, FAULT));
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
