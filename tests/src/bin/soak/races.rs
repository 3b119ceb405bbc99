//! A hundred rounds of 64 clients at once: merges into one session, and logins of one user at two hosts on one
//! server.

use std::process::ExitCode;
use std::time::Instant;

use e2e::http::Client;
use e2e::races::{ADMIN_KEY, logins, merges};
use e2e::store::Store;
use serde_json::{Value, json};

const ROUNDS: usize = 100;
const CLIENTS: usize = 64;

pub(crate) fn run() -> ExitCode {
    let mut is_good = true;
    for store in [Store::Memory, Store::Sqlite, Store::MongoDb, Store::Redis, Store::RedisCluster] {
        let Some(config) = store.config("races") else {
            println!("{store:?}: SKIPPED, there is none");
            is_good = false;
            continue;
        };
        is_good &= merged(store, &config);
        for on_limit in ["evict_oldest", "reject"] {
            is_good &= logged_in(store, &config, on_limit);
        }
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn merged(store: Store, config: &Value) -> bool {
    let hosts = store.hosts(config, json!({}));
    let clients: Vec<Client> = hosts.iter().map(|(_, pserve)| pserve.client()).collect();
    let started = Instant::now();
    let kept: usize = (0..ROUNDS).map(|_| merges(&clients, CLIENTS)).sum();
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{store:?}, {} host(s): {kept} of {} merges are there, {ROUNDS} rounds in {seconds:.0} s",
        hosts.len(),
        ROUNDS * CLIENTS
    );
    kept == ROUNDS * CLIENTS
}

fn logged_in(store: Store, config: &Value, on_limit: &str) -> bool {
    let limit = json!({ "max_sessions_per_user": 1, "on_limit": on_limit, "admin_key": ADMIN_KEY });
    let hosts = store.hosts(config, limit);
    let clients: Vec<Client> = hosts.iter().map(|(_, pserve)| pserve.client()).collect();
    let (mut wrong, mut let_in, mut others) = (0, 0, 0);
    let started = Instant::now();
    for round in 0..ROUNDS {
        // Each user logs in for two rounds: of half of them something is known.
        let outcome = logins(&clients, CLIENTS, &format!("{on_limit}-{}", round / 2));
        let is_known = on_limit == "reject" && round % 2 == 1;
        let live = usize::from(!is_known);
        wrong += usize::from(outcome.live != live || outcome.listed != 1);
        let_in += outcome.statuses.get(&201).copied().unwrap_or_default();
        others += outcome.statuses.iter().filter(|(status, _)| ![201, 409].contains(*status)).count();
    }
    println!(
        "{store:?}, {on_limit}, {} host(s): {ROUNDS} rounds of {CLIENTS} logins in {:.0} s, {let_in} let in; rounds that \
         did not end with one live session: {wrong}; other statuses than 201 and 409: {others}",
        hosts.len(),
        started.elapsed().as_secs_f64()
    );
    let expected = if on_limit == "reject" { ROUNDS / 2 } else { ROUNDS * CLIENTS };
    wrong == 0 && others == 0 && let_in == expected
}
