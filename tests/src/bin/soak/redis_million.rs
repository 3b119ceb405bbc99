//! A million sessions of as many users in a Redis of its own: what a page of all of them takes at the beginning, in the
//! middle and at the end, what all pages take, and what counting takes.

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use e2e::http::Client;
use e2e::pserve::Site;
use e2e::redis::Redis;
use serde_json::{Value, json};

const SESSIONS: usize = 1_000_000;
const WRITERS: usize = 8;
const LARGEST_PAGE: usize = 1_000;

/// What a page may take, whatever there is.
const IN_TIME: Duration = Duration::from_secs(2);

pub(crate) fn run() -> ExitCode {
    let Some(redis) = Redis::start("million", &[]) else { return ExitCode::FAILURE };
    let site = Site::new();
    let url = format!("redis://127.0.0.1:{}", redis.port());
    // The clean-up goes on beside, as it does where people work.
    site.sessman(
        &json!({ "server_url": url, "admin_key": "k".repeat(32), "cleanup_interval": 60 }).to_string(),
    );
    let pserve = site.start();
    let client = pserve.client();
    let admin = client.with("X-Admin-Key", &"k".repeat(32));
    let mut is_good = true;
    for wanted in [SESSIONS / 100, SESSIONS / 10, SESSIONS] {
        fill(&client, wanted);
        let memory = redis.cli(&["INFO", "memory"]);
        let used = memory.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap_or("0");
        println!("{wanted} sessions, {} bytes each", used.trim().parse().unwrap_or(0) / wanted);
        for limit in [100, LARGEST_PAGE] {
            is_good &= pages(&admin, limit);
        }
        is_good &= all_pages(&admin, wanted);
        let started = Instant::now();
        let stats = admin.get("/sessman/stats").expect(200).json();
        println!("  counts: {:.2} s", started.elapsed().as_secs_f64());
        is_good &= stats["active"] == wanted && stats["expired"] == 0;
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Begins sessions until there are so many.
fn fill(client: &Client, wanted: usize) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let (started, before) = (Instant::now(), NEXT.load(Ordering::Relaxed));
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                while let Ok(number) = NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
                    (next < wanted).then_some(next + 1)
                }) {
                    let data =
                        json!({ "cart": [number, "some", "things"], "theme": "dark", "n": "x".repeat(130) });
                    let user = format!("user-{number}");
                    client
                        .post("/sessman/new", json!({ "user": user, "data": data, "ttl_seconds": 86_400 }))
                        .expect(201);
                }
            });
        }
    });
    println!("{:.0} sessions a second", (wanted - before) as f64 / started.elapsed().as_secs_f64());
}

fn page(admin: &Client, cursor: Option<&str>, limit: usize) -> (Value, Duration) {
    let cursor = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
    let started = Instant::now();
    let page = admin.get(&format!("/sessman/list?limit={limit}{cursor}")).expect(200).json();
    (page, started.elapsed())
}

/// Pages here and there.
fn pages(admin: &Client, limit: usize) -> bool {
    let mut times = Vec::new();
    // Handles are random, so that their first letter says how far from the beginning they are.
    for letter in "AIQYgow4_".chars() {
        for _ in 0..10 {
            times.push(page(admin, Some(&format!("{letter}AAAAAAAAAAAAAAA")), limit).1);
        }
    }
    times.sort_unstable();
    let (middle, longest) = (times[times.len() / 2], times[times.len() - 1]);
    println!(
        "  pages of {limit}: {} of them, the middle one {middle:.1?}, the longest {longest:.1?}",
        times.len()
    );
    longest < IN_TIME
}

/// From the first page to the last.
fn all_pages(admin: &Client, wanted: usize) -> bool {
    let (mut found, mut longest, mut cursor) = (0, Duration::ZERO, None::<String>);
    let started = Instant::now();
    loop {
        let (page, took) = page(admin, cursor.as_deref(), LARGEST_PAGE);
        found += page["sessions"].as_array().map_or(0, Vec::len);
        longest = longest.max(took);
        match page["next"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "  all of them in pages of {LARGEST_PAGE}: {seconds:.1} s, the longest {longest:.1?}, {found} found"
    );
    found == wanted && longest < IN_TIME
}
