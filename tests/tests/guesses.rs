//! Guessing what only a plugin knows: keys of administrators and ids of sessions. `keys.rs` has the keys of the host.

use std::time::{Duration, Instant};

use e2e::http::{Answer, Client};
use e2e::pserve::{Pserve, Site};
use serde_json::{Value, json};

const KEY: &str = "the-valid-key";
const ADMIN_KEY: &str = "the-admin-key";

fn start(config: Value) -> (Site, Pserve) {
    let site = Site::new();
    let mut all = json!({ "backend": "memory", "admin_key": ADMIN_KEY });
    all.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
    site.write("sessman.json", all.to_string());
    site.ini(&format!("[auth]\napikey={KEY}\n[plugin_parms]\nsessman=json=sessman.json"));
    let pserve = site.start();
    (site, pserve)
}

fn keyed(pserve: &Pserve) -> Client {
    pserve.client().with("X-Custom-Auth", KEY)
}

fn counted(pserve: &Pserve, secret: &str, result: &str) -> u64 {
    let metrics = keyed(pserve).get("/metrics").expect(200).text;
    let line = format!("pserve_guesses_total{{secret=\"{secret}\",result=\"{result}\"}} ");
    let found = metrics.lines().find_map(|found| found.strip_prefix(&line)?.parse().ok());
    found.unwrap_or_else(|| panic!("{line}\n{metrics}"))
}

fn timed(ask: impl Fn() -> Answer) -> (Answer, Duration) {
    let started = Instant::now();
    (ask(), started.elapsed())
}

#[test]
fn guesses_of_the_admin_key_are_counted_slowed_and_told_of_seldom() {
    let (_site, pserve) = start(json!({}));
    let guess = |n: u32| {
        // The key of the host makes no difference: whoever has it is no administrator.
        let client = keyed(&pserve).with("X-Admin-Key", &format!("guessed-key-{n}"));
        timed(|| client.get("/sessman/stats"))
    };
    for n in 0..10 {
        guess(n).0.expect(401);
    }
    let slow: Vec<(Answer, Duration)> = (10..14).map(guess).collect();
    for (answer, _) in &slow {
        let answer = answer.clone().expect(429);
        assert!(answer.header("retry-after").is_some() && answer.member("error").contains("admin keys"));
    }
    let waited: Duration = slow.iter().map(|(_, time)| *time).sum();
    assert!(waited >= Duration::from_millis(125 + 250 + 500 + 1000), "{waited:?}");
    // The valid one is served all along, and none at all is no guess.
    keyed(&pserve).with("X-Admin-Key", ADMIN_KEY).get("/sessman/stats").expect(200);
    keyed(&pserve).get("/sessman/stats").expect(401);
    // Guesses of the host's key have a count of their own.
    pserve.client().with("X-Custom-Auth", "no").post("/sessman/new", json!({})).expect(401);
    assert_eq!((counted(&pserve, "admin_key", "answered"), counted(&pserve, "admin_key", "slowed")), (10, 4));
    assert_eq!(counted(&pserve, "api_key", "answered"), 1);
    pserve.wait_for_log("a wrong admin key");
    let log = pserve.log();
    assert_eq!(log.matches("a wrong admin key").count(), 1, "one line a minute for an address: {log}");
    assert!(!log.contains("guessed-key") && !log.contains(ADMIN_KEY), "{log}");
}

#[test]
fn a_request_is_one_guess_of_the_admin_key() {
    let (_site, pserve) = start(json!({}));
    let many = (0..90).fold(keyed(&pserve), |client, n| client.with("X-Admin-Key", &format!("guess-{n}")));
    many.with("X-Admin-Key", ADMIN_KEY).get("/sessman/stats").expect(401);
    let two = keyed(&pserve).with("X-Admin-Key", ADMIN_KEY).with("X-Admin-Key", "another");
    two.get("/sessman/stats").expect(401);
    assert_eq!(counted(&pserve, "admin_key", "answered"), 2);
}

#[test]
fn ids_that_miss_are_late_for_who_has_no_key_and_for_nobody_else() {
    let (_site, pserve) = start(json!({ "client_access": "read" }));
    let id = |n: u32| format!("{n:048}");
    let live = keyed(&pserve).post("/sessman/new", json!({ "user": "ada" })).expect(201).member("session_id");
    // A service that has the key asks for ids of all its visitors.
    for n in 0..200 {
        keyed(&pserve).get(&format!("/sessman/get?token={}", id(n))).expect(404);
    }
    assert_eq!(counted(&pserve, "session_id", "answered"), 0);

    let stranger = pserve.client();
    for n in 0..60 {
        let answer = match n % 3 {
            0 => stranger.with("X-Session-Id", &id(n)).get("/sessman/get").expect(404),
            1 => stranger.with("Cookie", &format!("PS_SESSID={}", id(n))).get("/sessman/get").expect(401),
            _ => stranger.get(&format!("/sessman/validate?token={}", id(n))).expect(200),
        };
        assert_eq!(answer.header("retry-after"), None);
    }
    // Those of `validate` among them, whose answer is 200.
    assert_eq!(counted(&pserve, "session_id", "answered"), 60);
    // From here on one more may be slowed.
    let all = || counted(&pserve, "session_id", "answered") + counted(&pserve, "session_id", "slowed");
    // Whoever is served has not guessed, though the cookie of an older session is beside the live one.
    let served = stranger.with("Cookie", &format!("PS_SESSID={}; PS_SESSID={live}", id(0)));
    served.get("/sessman/get").expect(200);
    assert_eq!(served.get("/sessman/validate").expect(200).json()["valid"], true);
    assert_eq!(all(), 60);
    // An id that no session can have is none.
    stranger.with("X-Session-Id", "short").get("/sessman/get").expect(404);
    assert_eq!(all(), 60);
    // Late, and what it is else: whoever is no longer logged in has to learn so. What has been forgotten meanwhile is free.
    let (mut late, mut tried) = (0, 60);
    while late < 4 {
        let miss = stranger.with("X-Session-Id", &id(1_000 + tried));
        let (answer, time) = timed(|| miss.get("/sessman/get"));
        answer.expect(404);
        late += u32::from(time >= Duration::from_millis(125));
        tried += 1;
        assert!(tried < 1_000, "none of them is late");
    }
    assert!(counted(&pserve, "session_id", "slowed") >= 4);
    stranger.with("X-Session-Id", &live).get("/sessman/get").expect(200);
    keyed(&pserve).get(&format!("/sessman/get?token={}", id(1))).expect(404);
    pserve.wait_for_log("many session ids that no session has");
    assert!(!pserve.log().contains(&id(1)), "{}", pserve.log());
}

#[test]
fn whoever_a_live_cookie_serves_has_not_guessed_by_the_dead_one_beside_it() {
    let (_site, pserve) = start(json!({ "client_access": "read" }));
    let live = keyed(&pserve).post("/sessman/new", json!({})).expect(201).member("session_id");
    for cookies in [[&*"d".repeat(48), &*live], [&*live, &*"d".repeat(48)]] {
        let [first, second] = cookies.map(|id| format!("PS_SESSID={id}"));
        let visitor = pserve.client().with("Cookie", &format!("{first}; {second}"));
        for _ in 0..80 {
            visitor.get("/sessman/get").expect(200);
        }
    }
    for result in ["answered", "slowed"] {
        assert_eq!(counted(&pserve, "session_id", result), 0, "{result}");
    }
}

#[test]
fn whoever_may_ask_without_a_key_is_not_slowed_where_there_is_none() {
    let site = Site::new();
    site.ini("[plugin_parms]\nsessman=backend=memory");
    let pserve = site.start();
    let client = pserve.client();
    for n in 0..200 {
        client.get(&format!("/sessman/get?token={n:048}")).expect(404);
    }
    assert!(!pserve.log().contains("session ids"), "{}", pserve.log());
}
