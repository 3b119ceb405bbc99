//! Guessing API keys: counted, logged without the key, slowed; and a valid key is neither slowed nor refused.

use std::time::{Duration, Instant};

use e2e::pserve::{Pserve, Site};
use serde_json::json;

const KEY: &str = "the-valid-key-2";

fn site() -> Site {
    let site = Site::new();
    site.write("sessman.json", r#"{ "backend": "memory" }"#);
    site.ini(&format!(
        "[auth]\napikey=list:the-valid-key-1 {KEY}\n[plugin_parms]\nsessman=json=sessman.json"
    ));
    site
}

/// The status of a guess, and how long it took.
fn guess(pserve: &Pserve, number: u32) -> (u16, Duration) {
    let started = Instant::now();
    let client = pserve.client().with("X-Custom-Auth", &format!("guessed-key-{number}"));
    let answer = client.post("/sessman/new", json!({}));
    let status = answer.status;
    if status == 429 {
        let seconds = answer.header("retry-after").expect("when to come back").parse::<u64>().unwrap();
        assert!((1..=120).contains(&seconds), "{seconds}");
    }
    answer.expect(status);
    (status, started.elapsed())
}

#[test]
fn guesses_are_slowed_and_a_valid_key_from_the_same_address_is_not() {
    let site = site();
    let pserve = site.start();
    let valid = pserve.client().with("Authorization", &format!("Bearer {KEY}"));
    let mut guesses = (0..10).map(|number| guess(&pserve, number).0);
    assert!(guesses.all(|status| status == 401), "the first few may be slips");
    // Each of the next waits longer than the one before; the sum is a floor, whatever else the machine does.
    let slow: Vec<_> = (10..14).map(|number| guess(&pserve, number)).collect();
    assert!(slow.iter().all(|(status, _)| *status == 429), "{slow:?}");
    let waited: Duration = slow.iter().map(|(_, time)| *time).sum();
    assert!(waited >= Duration::from_millis(125 + 250 + 500 + 1000), "{slow:?}");

    // While guesses wait, the valid key is served at once: many times over in less than one of their waits.
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| guess(&pserve, 99));
        let mut served = 0;
        while !waiting.is_finished() {
            valid.post("/sessman/new", json!({})).expect(201);
            served += 1;
        }
        let (status, time) = waiting.join().unwrap();
        assert!(status == 429 && time >= Duration::from_secs(2), "{status} {time:?}");
        assert!(served > 20, "{served} requests with the valid key in {time:?}");
    });
    // One with no key at all is told so, and does not count as a guess.
    pserve.client().post("/sessman/new", json!({})).expect(401);

    let metrics = valid.get("/metrics").expect(200).text;
    for line in ["wrong\"} 10", "slowed\"} 5", "missing\"} 1"] {
        let line = format!("pserve_key_failures_total{{reason=\"{line}");
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
    pserve.wait_for_log("a wrong API key");
    let log = pserve.log();
    assert_eq!(log.matches("a wrong API key").count(), 1, "one line a minute for an address: {log}");
    assert!(!log.contains("guessed-key") && !log.contains("the-valid-key"), "{log}");
}

#[test]
fn every_way_to_guess_counts() {
    let site = site();
    let pserve = site.start();
    let client = pserve.client();
    client.with("Authorization", "Bearer no").post("/sessman/new", json!({})).expect(401);
    client.with("X-Custom-Auth", "no").post("/sessman/new", json!({})).expect(401);
    client.post("/sessman/new", json!({ "apikey": "no" })).expect(401);
    client.with("X-Custom-Auth", "no").get("/plugins").expect(401);
    client.with("X-Custom-Auth", "no").send("POST", "/reload/all", "").expect(401);
    // A route that asks for a session tells a valid key by its answer, too.
    client.with("X-Custom-Auth", "no").get("/sessman/get").expect(401);
    // Two at once are one guess, and never a valid one.
    client.send("POST", "/sessman/new", &format!(r#"{{"apikey":"no","apikey":"{KEY}"}}"#)).expect(401);
    // This is no way: the parameter is not allowed here, and so no key was presented.
    client.post("/sessman/new?apikey=no", json!({})).expect(401);
    let metrics = client.with("X-Custom-Auth", KEY).get("/metrics").expect(200).text;
    assert!(metrics.contains("pserve_key_failures_total{reason=\"wrong\"} 7\n"), "{metrics}");
    assert!(metrics.contains("pserve_key_failures_total{reason=\"missing\"} 1\n"), "{metrics}");
}

#[test]
fn another_tokens_bearer_is_no_guess_where_a_session_lets_the_request_in() {
    let site = site();
    site.write("sessman.json", r#"{ "backend": "memory", "client_access": "read" }"#);
    let pserve = site.start();
    let id = pserve.client().with("X-Custom-Auth", KEY).post("/sessman/new", json!({ "user": "ada" }));
    let id = id.expect(201).member("session_id");
    let browser = pserve.client().with("X-Session-Id", &id).with("Authorization", "Bearer of-something-else");
    for _ in 0..20 {
        browser.get("/sessman/get").expect(200);
    }
    let metrics = pserve.client().with("X-Custom-Auth", KEY).get("/metrics").expect(200).text;
    assert!(metrics.contains("pserve_key_failures_total{reason=\"wrong\"} 0\n"), "{metrics}");
}
