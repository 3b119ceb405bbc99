//! A million sessions in SQLite: their size, and what reading and changing them takes, as ratios to a thousand of them in
//! the same run, and to quiet while all are counted twice at once and while half a million are removed.
//!
//! `E2E_SESSIONS` is how many there are in place of a million.

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::pserve::{Pserve, Site};
use e2e::wrk::{Measured, NUMBER, Requests, fill, load};

const FEW: u32 = 1_000;
/// How often each is measured, in turns.
const ROUNDS: u32 = 4;
/// Connections of the load.
const CONNECTIONS: u32 = 16;
const LONG: Duration = Duration::from_secs(5);
const ADMIN_KEY: &str = "the-key-of-the-administrator-of-this-run";
/// Calls of `stats` that go on at once.
const COUNTERS: usize = 2;
/// What reads may take beside them, as a ratio to quiet.
const MOST: f64 = 3.0;

pub(crate) fn run() -> ExitCode {
    let many_sessions: u32 =
        std::env::var("E2E_SESSIONS").map_or(1_000_000, |count| count.parse().expect("a number"));
    let (few, many) = (Site::new(), Site::new());
    configure(&few, "");
    configure(&many, r#""cache_bytes": 1073741824,"#);
    let (few_ids, many_ids) = (few.path("ids"), many.path("ids"));
    let (few_host, many_host) = (few.start(), many.start());
    fill(few_host.address(), FEW, &few_ids);
    let started = Instant::now();
    fill(many_host.address(), many_sessions, &many_ids);
    let rate = f64::from(many_sessions) / started.elapsed().as_secs_f64();
    println!("{many_sessions} sessions with 200 bytes of data and a user each, begun at {rate:.0} a second");

    let mut failed = 0;
    let mut compare = |many_host: &Pserve, what: &str| {
        let (mut few_seen, mut many_seen) = (Series::default(), Series::default());
        for _ in 0..ROUNDS {
            few_seen.measure(&few_host, &few_ids);
            many_seen.measure(many_host, &many_ids);
        }
        few_seen.print(&format!("{FEW} sessions"));
        many_seen.print(&format!("{many_sessions} sessions, {what}"));
        many_seen.compare(&few_seen, &format!("{many_sessions}, {what}, to {FEW}"));
        failed += few_seen.failed + many_seen.failed;
    };
    // It has all of them in memory, as it began them.
    println!("{} MiB of memory", many_host.memory_kib() / 1024);
    compare(&many_host, "all in memory");
    assert!(many_host.stop().success(), "it stops");
    configure(&many, "");
    let many_host = many.start();
    compare(&many_host, "a tenth in memory");
    println!("{} MiB of memory", many_host.memory_kib() / 1024);
    assert!(few_host.stop().success() && many_host.stop().success(), "they stop");
    let full = size(&many);
    println!("{:.0} bytes of the file a session", full as f64 / f64::from(many_sessions));

    configure(&many, r#""cache_bytes": 0,"#);
    let many_host = many.start();
    let is_undisturbed = reads_beside_counts(&many_host, &many_ids);
    assert!(many_host.stop().success(), "it stops");
    configure(&many, "");

    let count = expire_half(&many.path("state/sessman.db"));
    println!("{count} of them, which began first, are past their time now");
    let ids = std::fs::read_to_string(&many_ids).expect("the ids");
    // Answers came nearly in the order in which the sessions began.
    let live: String = ids.lines().skip(count + 1_000).flat_map(|id| [id, "\n"]).collect();
    std::fs::write(&many_ids, live).expect("the ids that are left");
    let host = many.start();
    let mut during = Series::default();
    let started = Instant::now();
    while !host.log().contains("expired sessions removed") {
        during.measure(&host, &many_ids);
    }
    println!("removed, and the file shrunk, after {:.0} s", started.elapsed().as_secs_f64());
    let mut quiet = Series::default();
    for _ in 0..ROUNDS {
        quiet.measure(&host, &many_ids);
    }
    during.print("while they are removed");
    quiet.print("quiet, afterwards");
    during.compare(&quiet, "while removing to quiet");
    let found = host.log().lines().find(|line| line.contains("expired sessions removed")).map(str::to_owned);
    println!("{}", found.unwrap_or_default());
    assert!(host.stop().success(), "it stops");
    println!("the file has {:.2} of its size", size(&many) as f64 / full as f64);
    failed += during.failed + quiet.failed;
    println!("requests that failed: {failed}");
    let is_good = failed == 0 && is_undisturbed && count > many_sessions as usize / 3;
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Compares reads of sessions that are not in memory, while all sessions are counted, to quiet: whether they go on as
/// they should, and every call is answered.
fn reads_beside_counts(host: &Pserve, ids: &Path) -> bool {
    let (mut quiet, mut beside) = (Series::default(), Series::default());
    (0..ROUNDS).for_each(|_| quiet.measure_reads(host, ids));
    let is_over = AtomicBool::new(false);
    let count = || {
        let client = host.client().with("X-Admin-Key", ADMIN_KEY);
        let (mut answered, mut refused, mut longest) = (0_u32, 0_u32, Duration::ZERO);
        while !is_over.load(Ordering::Relaxed) {
            let started = Instant::now();
            let is_answered = client.get("/sessman/stats").status == 200;
            longest = longest.max(started.elapsed());
            answered += u32::from(is_answered);
            refused += u32::from(!is_answered);
        }
        (answered, refused, longest)
    };
    let counted: Vec<_> = std::thread::scope(|scope| {
        let counters: Vec<_> = (0..COUNTERS).map(|_| scope.spawn(count)).collect();
        (0..ROUNDS).for_each(|_| beside.measure_reads(host, ids));
        is_over.store(true, Ordering::Relaxed);
        counters.into_iter().map(|counter| counter.join().expect("it counts")).collect()
    });
    quiet.print("none in memory, quiet");
    beside.print(&format!("none in memory, beside {COUNTERS} `stats` at once"));
    beside.compare(&quiet, &format!("beside {COUNTERS} `stats` to quiet"));
    for (answered, refused, longest) in &counted {
        println!("{answered} `stats` answered, {refused} refused, the longest after {longest:.1?}");
    }
    let p99 = |series: &Series| median(&series.get, |measured| measured.p99.as_secs_f64());
    let all_answered = counted.iter().all(|(answered, refused, _)| *answered > 0 && *refused == 0);
    println!("requests that failed: {}", quiet.failed + beside.failed);
    all_answered && quiet.failed + beside.failed == 0 && p99(&beside) <= MOST * p99(&quiet)
}

/// It cleans up when it starts, and then not for a day.
fn configure(site: &Site, more: &str) {
    site.sessman(&format!(r#"{{ {more} "admin_key": "{ADMIN_KEY}", "cleanup_interval": 86400 }}"#));
}

fn size(site: &Site) -> u64 {
    site.path("state/sessman.db").metadata().expect("the file").len()
}

/// Puts the end of those that began first into the past: half of them. To be called while nobody has the file open.
fn expire_half(file: &Path) -> usize {
    const EXPIRE: &str = "UPDATE sessions SET expires_at = 1, expiry_bucket = 0
                          WHERE id <= (SELECT max(id) / 2 FROM sessions)";
    let connection = rusqlite::Connection::open(file).expect("the file opens");
    let count = connection.execute(EXPIRE, []).expect("half of them");
    connection.close().expect("it is written");
    count
}

fn head(line: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: localhost\r\nX-Session-Id: {{id}}\r\n")
}

/// Adds what a load of `request` sees: how many failed.
fn push(series: &mut Vec<Measured>, host: &Pserve, ids: &Path, request: &str) -> u64 {
    let measured = load(host.address(), &Requests::new(request), ids, CONNECTIONS, LONG);
    series.push(measured);
    measured.failed
}

/// Measurements of the same thing.
#[derive(Default)]
struct Series {
    get: Vec<Measured>,
    update: Vec<Measured>,
    failed: u64,
}

impl Series {
    fn measure(&mut self, host: &Pserve, ids: &Path) {
        self.measure_reads(host, ids);
        let body = format!(r#"{{"data":{{"n":"{NUMBER}","text":"{}"}}}}"#, "x".repeat(180));
        let update = format!("{}Content-Length: {}\r\n\r\n{body}", head("POST /sessman/update"), body.len());
        self.failed += push(&mut self.update, host, ids, &update);
    }

    fn measure_reads(&mut self, host: &Pserve, ids: &Path) {
        self.failed += push(&mut self.get, host, ids, &format!("{}\r\n", head("GET /sessman/get")));
    }

    /// Those that were measured.
    fn operations(&self) -> Vec<(&'static str, &[Measured])> {
        let all = [("get", &*self.get), ("update", &*self.update)];
        all.into_iter().filter(|(_, measured)| !measured.is_empty()).collect()
    }

    fn print(&self, what: &str) {
        for (operation, measured) in self.operations() {
            let millis = |pick: fn(&Measured) -> f64| median(measured, pick) * 1e3;
            println!(
                "{what}: {operation}: {:.0}/s, p50 {:.2} ms, p99 {:.2} ms",
                median(measured, |measured| measured.rate),
                millis(|measured| measured.p50.as_secs_f64()),
                millis(|measured| measured.p99.as_secs_f64())
            );
        }
    }

    fn compare(&self, base: &Self, what: &str) {
        for ((operation, ours), (_, theirs)) in self.operations().into_iter().zip(base.operations()) {
            let ratio = |pick: fn(&Measured) -> f64| median(ours, pick) / median(theirs, pick);
            println!(
                "{what}: {operation}: rate {:.2}, p50 {:.2}, p99 {:.2}",
                ratio(|measured| measured.rate),
                ratio(|measured| measured.p50.as_secs_f64()),
                ratio(|measured| measured.p99.as_secs_f64())
            );
        }
    }
}

fn median(measured: &[Measured], pick: fn(&Measured) -> f64) -> f64 {
    let mut values: Vec<f64> = measured.iter().map(pick).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
