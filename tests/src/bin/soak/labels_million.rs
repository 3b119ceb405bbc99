//! A million sessions with labels, in SQLite and in a Redis of its own: what a page of 100 by a label takes, whether few or
//! many sessions have it, and whether the pages have all of them.
//!
//! `E2E_SESSIONS` is how many there are in place of a million.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use e2e::http::Client;
use e2e::pserve::Site;
use e2e::redis::Redis;
use e2e::wrk::fill_with;
use serde_json::{Value, json};

const PAGE: usize = 100;
/// Pages whose time is taken, of each label.
const PAGES: usize = 200;
const ADMIN_KEY: &str = "the-key-of-the-administrator-of-this-run";

/// Each session has three labels.
const MORE: &str = r#","labels":{"tenant":"t{n%10}","device":"d{n%1000}","rare":"r{n%10000}"}"#;

/// Labels, and one session of how many has each.
const LABELS: [(&str, u32); 3] = [("tenant:t3", 10), ("device:d7", 1_000), ("rare:r9", 10_000)];

pub(crate) fn run() -> ExitCode {
    let sessions: u32 =
        std::env::var("E2E_SESSIONS").map_or(1_000_000, |count| count.parse().expect("a number"));
    let Some(redis) = Redis::start("labels-million", &[]) else { return ExitCode::FAILURE };
    let mut is_good = true;
    for (name, config) in [
        ("SQLite", json!({})),
        ("Redis", json!({ "server_url": format!("redis://127.0.0.1:{}", redis.port()) })),
    ] {
        let mut config = config;
        config["admin_key"] = json!(ADMIN_KEY);
        let site = Site::new();
        site.sessman(&config.to_string());
        let pserve = site.start();
        let client = pserve.client();
        let started = Instant::now();
        fill_with(pserve.address(), sessions, MORE, &site.path("ids"));
        println!("{name}: {sessions} sessions, begun in {:.0} s", started.elapsed().as_secs_f64());
        let admin = client.with("X-Admin-Key", ADMIN_KEY);
        for (label, one_of) in LABELS {
            is_good &= pages(&admin, label, sessions / one_of);
        }
        let started = Instant::now();
        let stats = admin.get("/sessman/stats?label=tenant:t3").expect(200).json();
        println!("  counted {} of tenant:t3 in {:.1} s", stats["active"], started.elapsed().as_secs_f64());
        is_good &= is_about(stats["active"].as_u64().unwrap_or(0), sessions / 10);
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Some more requests were on their way when the last of the sessions was answered.
fn is_about(found: u64, expected: u32) -> bool {
    (u64::from(expected)..=u64::from(expected) + 64).contains(&found)
}

/// Reads all pages of a label, and says what they take; whether they have as many sessions as there are.
fn pages(admin: &Client, label: &str, expected: u32) -> bool {
    let (mut times, mut found, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let started = Instant::now();
        let page = admin.get(&format!("/sessman/list?label={label}&limit={PAGE}{cursor}")).expect(200);
        if times.len() < PAGES {
            times.push(started.elapsed());
        }
        let page = page.json();
        found += page["sessions"].as_array().map_or(0, Vec::len);
        match &page["next"] {
            Value::String(next) => cursor = format!("&cursor={next}"),
            _ => break,
        }
    }
    // A label that few have has one page: it is read again.
    while times.len() < PAGES {
        let started = Instant::now();
        admin.get(&format!("/sessman/list?label={label}&limit={PAGE}")).expect(200);
        times.push(started.elapsed());
    }
    times.sort_unstable();
    let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
    println!(
        "  {label}: {found} sessions; a page of {PAGE}: median {:.2} ms, p95 {:.2} ms",
        millis(times[PAGES / 2]),
        millis(times[PAGES * 95 / 100])
    );
    is_about(found as u64, expected)
}
