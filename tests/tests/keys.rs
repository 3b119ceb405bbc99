//! Guessing API keys: counted, logged without the key, slowed; and a valid key is neither slowed nor refused.

use std::process::Command;
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

#[test]
fn a_key_of_the_metrics_opens_them_and_nothing_else() {
    let site = site();
    site.write("scrape.key", "the-key-for-scrapes\n");
    let file = site.path("scrape.key").display().to_string();
    let ini = |keys: &str| {
        site.ini(&format!(
            "[auth]\napikey={KEY}\nmetrics_apikey={keys}\n[plugin_parms]\nsessman=json=sessman.json"
        ));
    };
    ini(&format!("list:${{FILE:{file}}} ${{ENV:NEXT_SCRAPE_KEY}}"));
    let pserve = site.try_start_with(&[("NEXT_SCRAPE_KEY", "the-next-key-for-scrapes")]).unwrap();
    for key in ["the-key-for-scrapes", "the-next-key-for-scrapes", KEY] {
        pserve.client().with("Authorization", &format!("Bearer {key}")).get("/metrics").expect(200);
        pserve.client().with("X-Custom-Auth", key).get("/metrics").expect(200);
    }
    let scraper = pserve.client().with("Authorization", "Bearer the-key-for-scrapes");
    scraper.get("/plugins").expect(401);
    for change in ["/reload/all", "/reload/sessman", "/unload/sessman", "/load/sessman", "/sessman/new"] {
        scraper.send("POST", change, "").expect(401);
    }
    pserve.client().with("Authorization", "Bearer a-guess-at-it").get("/metrics").expect(401);
    pserve.client().get("/metrics").expect(401);
    let metrics = scraper.get("/metrics").expect(200).text;
    for line in ["wrong\"} 7", "missing\"} 1"] {
        let line = format!("pserve_key_failures_total{{reason=\"{line}");
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
    assert!(!pserve.log().contains("for-scrapes"), "{}", pserve.log());

    // Withdrawn by a reload.
    ini("the-last-key-for-scrapes");
    pserve.client().with("X-Custom-Auth", KEY).send("POST", "/reload/all", "").expect(200);
    scraper.get("/metrics").expect(401);
    pserve.client().with("X-Custom-Auth", "the-last-key-for-scrapes").get("/metrics").expect(200);
}

#[test]
fn guesses_at_the_key_of_the_metrics_are_slowed() {
    let site = site();
    site.ini("[auth]\nmetrics_apikey=the-key-for-scrapes\n[plugin_parms]\nsessman=json=sessman.json");
    let pserve = site.start();
    let guess = |number: u32| {
        pserve.client().with("X-Custom-Auth", &format!("guessed-key-{number}")).get("/metrics").status
    };
    assert!((0..10).all(|number| guess(number) == 401));
    assert_eq!(guess(10), 429);
    // Nobody has the key of everything, so what needs it stays closed; the instance is as open as it was.
    let scraper = pserve.client().with("X-Custom-Auth", "the-key-for-scrapes");
    scraper.get("/metrics").expect(200);
    scraper.get("/plugins").expect(403);
    scraper.send("POST", "/reload/all", "").expect(403);
    pserve.client().post("/sessman/new", json!({})).expect(201);
}

#[test]
fn a_key_of_the_metrics_that_can_be_guessed_or_opens_everything_is_refused() {
    let site = site();
    let check = || {
        let pserve = e2e::artifacts().join("pserve");
        let output =
            Command::new(pserve).arg("-i").arg(site.path("pserve.ini")).arg("check").output().unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    for (keys, said) in [
        ("short-key", "[auth] metrics_apikey: a key of fewer than 12 characters can be guessed"),
        ("list:the-key-for-scrapes short-key", "fewer than 12 characters"),
        (KEY, "[auth] metrics_apikey: it is one of `apikey`, too"),
        ("", "[auth] metrics_apikey: an empty key"),
        ("list:the-key-for-scrapes ${ENV:NO_SUCH_KEY:-}", "an empty key, number 2 of 2"),
    ] {
        site.ini(&format!(
            "[auth]\napikey=list:the-valid-key-1 {KEY}\nmetrics_apikey={keys}\n[plugin_parms]\nsessman=json=sessman.json"
        ));
        let (is_good, text) = check();
        assert!(!is_good && text.contains(said), "{keys}: {text}");
        assert!(
            !text.contains("for-scrapes") && !text.contains("short-key") && !text.contains(KEY),
            "{text}"
        );
    }
    std::fs::create_dir(site.path("none")).unwrap();
    site.write(
        "pserve.ini",
        "[network]\nbindto=0.0.0.0\nport=0\n[paths]\nplugins=none\n[auth]\nmetrics_apikey=short-key",
    );
    let refused = site.try_start().err().expect("it does not serve");
    assert!(refused.contains("[auth] metrics_apikey") && !refused.contains("short-key"), "{refused}");
}
