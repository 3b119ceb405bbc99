//! A rolling upgrade from the last release that wrote layout 1 only: old and new at work side by side on one Redis and
//! one MongoDB, and one taking the place of the other under load.

mod roll;
mod side_by_side;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use e2e::clocks::Setting;
use e2e::layout_1;
use e2e::store::Store;

/// Rounds of logins at once while both are at work, for each of six rules.
const ROUNDS: usize = 5;

/// What must not be, how often it was, and the first of each in words.
#[derive(Default)]
struct Faults(BTreeMap<String, (usize, String)>);

impl Faults {
    fn add(&mut self, kind: impl Into<String>, example: impl FnOnce() -> String) {
        self.0.entry(kind.into()).or_insert_with(|| (0, example())).0 += 1;
    }

    /// Prints a row, and says whether nothing failed.
    fn show(&self, store: Store, what: &str, count: usize) -> bool {
        let faults: Vec<String> =
            self.0.iter().map(|(kind, (count, _))| format!("{kind}: {count}")).collect();
        let told = if faults.is_empty() { "-".to_owned() } else { faults.join(", ") };
        println!("| {store:?} | {what} | {count} | {told} |");
        for (kind, (_, example)) in &self.0 {
            println!("  {kind}: {example}");
        }
        faults.is_empty() && count > 0
    }
}

pub(crate) fn run() -> ExitCode {
    println!("the last release that wrote layout 1 only is built first, below target/layout-1");
    let (old, new) = (layout_1::build(), e2e::artifacts());
    println!("| store | what | times | what failed |");
    println!("| --- | --- | --- | --- |");
    let mut is_good = true;
    for store in [Store::Redis, Store::RedisCluster, Store::MongoDb] {
        is_good &= on(store, &old, &new).unwrap_or_else(|| {
            println!("{store:?}: SKIPPED, there is none");
            false
        });
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn on(store: Store, old: &Path, new: &Path) -> Option<bool> {
    let mut is_good = true;
    for (what, builds) in [("old asks, new too", [old, new]), ("new asks, old too", [new, old])] {
        let (count, faults) = side_by_side::run(&store.config("upgrade")?, builds);
        is_good &= faults.show(store, what, count);
    }
    // In a cluster the old release keeps the places of users in keys of other names; docs/releases.md says what that means.
    if store != Store::RedisCluster {
        let builds = vec![old.to_owned(), new.to_owned()];
        let found = Setting { builds, ..Setting::new(store, &[0, 0], ROUNDS) }.run("upgrade")?;
        let mut faults = Faults::default();
        for (kind, example) in &found.examples {
            faults.add(*kind, || example.clone());
        }
        is_good &= faults.show(store, "logins at a limit, at both at once", found.logins);
    }
    let (requests, faults) = roll::run(&store.config("upgrade")?, old, new);
    is_good &= faults.show(store, "restarts from old to new under load, requests", requests);
    Some(is_good)
}
