//! Nodes whose clocks differ. `cargo xtask soak clocks` tries more of them, for minutes.

use e2e::clocks::Setting;
use e2e::store::Store;

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
