//! When sessions end: without activity, at the latest, and whatever becomes of the wall clock.

use std::thread;
use std::time::{Duration, Instant};

use e2e::clock::WallClock;
use e2e::http::{Answer, Client};
use e2e::on_every_store;
use e2e::pserve::{Pserve, Site};
use e2e::store::Store;
use serde_json::{Value, json};

on_every_store!(
    reading_is_activity_once_there_is_an_idle_timeout,
    nothing_puts_the_end_off_beyond_absolute_ttl,
    a_bound_session_answers_one_address,
);

fn serve(config: &Value, more: Value) -> (Site, Pserve, Client) {
    let mut config = config.clone();
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let site = Site::new();
    site.sessman(&config.to_string());
    let pserve = site.start();
    let client = pserve.client();
    (site, pserve, client)
}

/// Milliseconds between two of a session's times, which are less than a day apart.
fn between(session: &Answer, from: &str, to: &str) -> i64 {
    let millis = |name: &str| {
        let text = session.member(name);
        let part = |from: usize, to: usize| text[from..to].parse::<i64>().unwrap();
        ((part(11, 13) * 60 + part(14, 16)) * 60 + part(17, 19)) * 1000 + part(20, 23)
    };
    (millis(to) - millis(from)).rem_euclid(86_400_000)
}

fn reading_is_activity_once_there_is_an_idle_timeout(_: Store, config: Value) {
    let (_site, _pserve, client) = serve(&config, json!({ "idle_timeout": 600, "touch_interval": 1 }));
    let created = client.post("/sessman/new", json!({ "user": "ada" })).expect(201);
    assert_eq!(between(&created, "last_activity", "expires_at"), 600_000);
    let path = format!("/sessman/get?token={}", created.member("session_id"));
    thread::sleep(Duration::from_millis(1_100));
    let read = client.get(&path).expect(200);
    assert!(between(&created, "last_activity", "last_activity") == 0);
    assert!(read.member("last_activity") > created.member("last_activity"));
    assert_eq!(between(&read, "last_activity", "expires_at"), 600_000);
    assert_eq!(
        (&read.json()["version"], &read.json()["updated_at"]),
        (&json!(1), &created.json()["updated_at"])
    );

    let (_site, _pserve, client) = serve(&config, json!({ "idle_timeout": 1 }));
    let id = client.post("/sessman/new", json!({})).expect(201).member("session_id");
    thread::sleep(Duration::from_millis(1_050));
    client.get(&format!("/sessman/get?token={id}")).expect(404);

    let (_site, _pserve, client) =
        serve(&config, json!({ "idle_timeout": 600, "sliding": "update", "touch_interval": 0 }));
    let created = client.post("/sessman/new", json!({})).expect(201);
    thread::sleep(Duration::from_millis(5));
    let read = client.get(&format!("/sessman/get?token={}", created.member("session_id"))).expect(200);
    assert_eq!(read.json(), created.json());
}

fn nothing_puts_the_end_off_beyond_absolute_ttl(_: Store, config: Value) {
    let (_site, _pserve, client) = serve(&config, json!({ "absolute_ttl": 2 }));
    let created = client.post("/sessman/new", json!({})).expect(201);
    assert_eq!(between(&created, "created_at", "expires_at"), 2_000);
    let id = created.member("session_id");
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2_050) {
        let touched = client.post("/sessman/touch", json!({ "token": id }));
        if touched.status == 200 {
            assert_eq!(touched.json()["expires_at"], created.json()["expires_at"]);
        }
        thread::sleep(Duration::from_millis(100));
    }
    client.post("/sessman/touch", json!({ "token": id })).expect(404);
}

fn a_bound_session_answers_one_address(_: Store, config: Value) {
    let (_site, _pserve, client) = serve(&config, json!({ "bind_ip": true }));
    let begin = |metadata: Value| client.post("/sessman/new", json!({ "metadata": metadata }));
    let here = begin(json!({})).expect(201).member("session_id");
    let there = begin(json!({ "client_ip": "192.0.2.7" })).expect(201).member("session_id");
    begin(json!({ "client_ip": "somewhere" })).expect(400);
    for (id, status) in [(here, 200), (there, 404)] {
        client.get(&format!("/sessman/get?token={id}")).expect(status);
        client.post("/sessman/update", json!({ "token": id, "data": 1 })).expect(status);
        client.post("/sessman/touch", json!({ "token": id })).expect(status);
        client.post("/sessman/end", json!({ "token": id })).expect(status);
    }
}

#[test]
fn a_service_that_began_behind_catches_up_and_says_so() {
    let site = Site::new();
    let Some(clock) =
        WallClock::new("a_service_that_began_behind_catches_up_and_says_so", &site.path("clock"), -20)
    else {
        return;
    };
    site.sessman(&json!({ "backend": "memory", "session_ttl": 3_600 }).to_string());
    let pserve = site.try_start_with(&clock.environment()).unwrap();
    let behind = || {
        let page = pserve.client().get("/metrics").expect(200).text;
        let line = page.lines().find(|line| line.starts_with("sessman_clock_offset_seconds")).unwrap();
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert!(behind().abs() < 1.0);
    clock.set(0);
    pserve.wait_for_log("the wall clock is ahead of the service's by");
    // At 500 ppm it would take an hour.
    e2e::pserve::eventually("it catches up", || (10.0..18.5).contains(&behind()));
}

#[test]
fn sessions_end_as_promised_although_the_wall_clock_jumps() {
    const TEST: &str = "sessions_end_as_promised_although_the_wall_clock_jumps";
    const TWO_DAYS: i64 = 2 * 86_400;
    let site = Site::new();
    let Some(clock) = WallClock::new(TEST, &site.path("clock"), 0) else { return };
    site.sessman(&json!({ "backend": "memory", "session_ttl": 3_600 }).to_string());
    let pserve = site.try_start_with(&clock.environment()).unwrap();
    let client = pserve.client();
    let long = client.post("/sessman/new", json!({})).expect(201).member("session_id");

    // Two days ahead, past its end: it goes on, and new ones are dated as the engine's clock goes.
    clock.set(TWO_DAYS);
    pserve.wait_for_log("the wall clock is ahead of the service's");
    client.get(&format!("/sessman/get?token={long}")).expect(200);
    let short = client.post("/sessman/new", json!({ "ttl_seconds": 2 })).expect(201).member("session_id");
    let begun = client.post("/sessman/new", json!({})).expect(201);
    let own = client.post("/sessman/touch", json!({ "token": long })).expect(200);
    assert_eq!(begun.member("created_at")[..10], own.member("created_at")[..10], "it did not follow");

    // And as far back: what was to end ends.
    clock.set(-TWO_DAYS);
    pserve.wait_for_log("the wall clock is behind the service's");
    e2e::pserve::eventually("the session ends", || {
        client.get(&format!("/sessman/get?token={short}")).status == 404
    });
    client.get(&format!("/sessman/get?token={long}")).expect(200);
}
