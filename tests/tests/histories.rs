//! Many clients of a few sessions at once, whose answers one register a session must be able to give.
//! `cargo xtask soak histories` does the same for minutes.

use std::time::Duration;

use e2e::history::Recorded;
use e2e::history::faults::{self, Rule};
use e2e::on_every_store;
use e2e::store::Store;
use serde_json::{Value, json};

on_every_store!(clients_see_one_history_of_each_session, an_id_that_is_used_again_is_another_session);

fn is_explained(recorded: &Recorded) {
    assert!(recorded.violations.is_empty(), "{recorded}: {}", recorded.violations.join("\n"));
    eprintln!("{recorded}");
    assert!(recorded.operations > 100 && recorded.sessions > 2, "{recorded}");
}

fn clients_see_one_history_of_each_session(store: Store, config: Value) {
    is_explained(&faults::quiet(store, &config, Duration::from_secs(3)));
}

fn an_id_that_is_used_again_is_another_session(store: Store, config: Value) {
    is_explained(&faults::again(store, &config, Rule::Any, Duration::from_secs(2)));
}

#[test]
fn clients_see_one_history_of_ids_used_again_by_users_with_limits_through_reloads() {
    let recorded = faults::reloads(Store::Sqlite, &json!({}), 6, Duration::from_millis(400));
    is_explained(&recorded);
}

#[test]
fn clients_see_one_history_of_ids_used_again_at_two_nodes_on_mongodb_whose_clocks_differ() {
    clocks_differ(
        "clients_see_one_history_of_ids_used_again_at_two_nodes_on_mongodb_whose_clocks_differ",
        Store::MongoDb,
    );
}

#[test]
fn clients_see_one_history_of_ids_used_again_at_two_nodes_on_redis_whose_clocks_differ() {
    clocks_differ(
        "clients_see_one_history_of_ids_used_again_at_two_nodes_on_redis_whose_clocks_differ",
        Store::Redis,
    );
}

fn clocks_differ(test: &str, store: Store) {
    if let Some(recorded) = faults::clocks(test, store, Rule::Evict(2), 15, Duration::from_secs(2)) {
        is_explained(&recorded);
    }
}

#[test]
fn a_session_that_was_told_as_ended_stays_ended_although_sqlite_is_slow() {
    is_ended_for_good(&faults::sqlite_expiry(2));
}

#[test]
fn a_session_that_was_told_as_ended_stays_ended_although_redis_pauses() {
    let test = "a_session_that_was_told_as_ended_stays_ended_although_redis_pauses";
    let Some(recorded) = faults::redis_expiry(test, 3) else { return };
    is_ended_for_good(&recorded);
}

#[test]
fn a_session_that_was_told_as_ended_stays_ended_although_mongodb_is_far() {
    let test = "a_session_that_was_told_as_ended_stays_ended_although_mongodb_is_far";
    let Some(recorded) = faults::mongodb_expiry(test, 3) else { return };
    is_ended_for_good(&recorded);
}

fn is_ended_for_good(recorded: &Recorded) {
    assert!(recorded.violations.is_empty(), "{recorded}: {}", recorded.violations.join("\n"));
    eprintln!("{recorded}");
    assert!(recorded.sessions > 10 && recorded.answers.contains_key("404"), "{recorded}");
}

#[test]
fn clients_see_one_history_while_pserve_is_killed_on_sqlite() {
    let recorded = faults::sqlite_killed(3, Duration::from_secs(1));
    is_explained(&recorded);
    assert!(recorded.answers.contains_key("no answer"), "the kills came under load: {recorded}");
}

#[test]
fn clients_see_one_history_while_redis_is_killed_and_stopped() {
    let test = "clients_see_one_history_while_redis_is_killed_and_stopped";
    let Some(recorded) = faults::redis(test, 2, Duration::from_millis(2_500)) else { return };
    is_explained(&recorded);
    assert!(recorded.unsure > 0 && recorded.answers.contains_key("503"), "{recorded}");
}

#[test]
fn clients_see_one_history_while_mongodb_is_stopped() {
    let test = "clients_see_one_history_while_mongodb_is_stopped";
    let Some(recorded) = faults::mongodb_stopped(test, 1, Duration::from_secs(3)) else { return };
    is_explained(&recorded);
    assert!(recorded.unsure > 0 && recorded.answers.contains_key("503"), "{recorded}");
}
