//! Many clients at once. `cargo xtask soak races` does the same for a hundred rounds.

use e2e::http::Client;
use e2e::on_every_store;
use e2e::pserve::{Pserve, Site};
use e2e::races::{ADMIN_KEY, logins, merges};
use e2e::store::Store;
use serde_json::{Value, json};

on_every_store!(
    no_merge_of_64_clients_is_lost,
    of_64_logins_at_once_one_session_lives,
    of_64_logins_at_once_one_is_let_in,
);

/// Hosts with a limit of one session a user.
fn hosts(store: Store, config: &Value, on_limit: &str) -> Vec<(Site, Pserve)> {
    let limit = json!({ "max_sessions_per_user": 1, "on_limit": on_limit, "admin_key": ADMIN_KEY });
    store.hosts(config, limit)
}

fn no_merge_of_64_clients_is_lost(store: Store, config: Value) {
    let hosts = hosts(store, &config, "reject");
    let clients: Vec<Client> = hosts.iter().map(|(_, pserve)| pserve.client()).collect();
    for _ in 0..2 {
        assert_eq!(merges(&clients, 64), 64);
    }
}

fn of_64_logins_at_once_one_session_lives(store: Store, config: Value) {
    let hosts = hosts(store, &config, "evict_oldest");
    let clients: Vec<Client> = hosts.iter().map(|(_, pserve)| pserve.client()).collect();
    for round in 0..3 {
        let outcome = logins(&clients, 64, &format!("user-{round}"));
        assert_eq!(outcome.statuses.get(&201), Some(&64), "{outcome:?}");
        assert_eq!((outcome.live, outcome.listed), (1, 1), "{outcome:?}");
        // And once more, where something is known of the user.
        let again = logins(&clients, 16, &format!("user-{round}"));
        assert_eq!((again.live, again.listed), (1, 1), "{again:?}");
    }
}

fn of_64_logins_at_once_one_is_let_in(store: Store, config: Value) {
    let hosts = hosts(store, &config, "reject");
    let clients: Vec<Client> = hosts.iter().map(|(_, pserve)| pserve.client()).collect();
    for round in 0..3 {
        let outcome = logins(&clients, 64, &format!("user-{round}"));
        assert_eq!(
            (outcome.statuses.get(&201), outcome.statuses.get(&409)),
            (Some(&1), Some(&63)),
            "{outcome:?}"
        );
        assert_eq!((outcome.live, outcome.listed), (1, 1), "{outcome:?}");
        let again = logins(&clients, 8, &format!("user-{round}"));
        assert_eq!((again.statuses.get(&409), again.listed), (Some(&8), 1), "{again:?}");
    }
}
