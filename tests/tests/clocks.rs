//! Nodes whose clocks differ. `cargo xtask soak clocks` tries more of them, for minutes.

use e2e::clock::{self, WallClock, now_of};
use e2e::clocks::Setting;
use e2e::pserve::{Site, eventually};
use e2e::store::Store;
use serde_json::json;

fn is_right(test: &str, setting: &Setting) {
    let Some(found) = setting.run(test) else { return };
    assert!(found.is_good(), "rounds | logins | 503 | what failed: {found}\n{:#?}", found.examples);
}

#[test]
fn limits_are_exact_where_the_clocks_of_two_nodes_on_redis_differ() {
    let test = "limits_are_exact_where_the_clocks_of_two_nodes_on_redis_differ";
    is_right(test, &Setting::new(Store::Redis, &[0, 15], 2));
}

#[test]
fn limits_are_exact_where_the_clocks_of_three_nodes_on_mongodb_differ() {
    let test = "limits_are_exact_where_the_clocks_of_three_nodes_on_mongodb_differ";
    is_right(test, &Setting::new(Store::MongoDb, &[0, 0, -30], 2));
}

#[test]
fn no_login_is_answered_whose_session_redis_has_removed_already() {
    let test = "no_login_is_answered_whose_session_redis_has_removed_already";
    is_right(test, &Setting::new(Store::Redis, &[-71], 1));
}

#[test]
fn a_node_that_began_behind_catches_up_and_says_so() {
    const TEST: &str = "a_node_that_began_behind_catches_up_and_says_so";
    let site = Site::new();
    let Some(clock) = WallClock::new(TEST, &site.path("clock"), -20) else { return };
    site.sessman(&json!({ "backend": "memory" }).to_string());
    let pserve = site.try_start_with(&clock.environment()).unwrap();
    let client = pserve.client();
    assert!(now_of(&client, "sessman") < clock::now() - 15_000, "it begins behind");
    // As a machine that boots before it has asked for the time.
    clock.set(0);
    pserve.wait_for_log("the wall clock is ahead of the service's by");
    // A second in ten, so that no session ends long before it was promised to. At 500 ppm it would take an hour and a half.
    eventually("three seconds less", || now_of(&client, "sessman") > clock::now() - 17_000);
}
