//! A million sessions in SQLite: their size, and what reading and changing them takes, as ratios to a thousand of them in
//! the same run, and to quiet while half a million are removed.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use e2e::pserve::{Pserve, Site};
use e2e::wrk::{Measured, NUMBER, Requests, fill, load};

const FEW: u32 = 1_000;
const MANY: u32 = 1_000_000;
/// How often each is measured, in turns.
const ROUNDS: u32 = 4;
/// Connections of the load.
const CONNECTIONS: u32 = 16;
const LONG: Duration = Duration::from_secs(5);

pub(crate) fn run() -> ExitCode {
    let (few, many) = (Site::new(), Site::new());
    configure(&few, "");
    configure(&many, r#""cache_bytes": 1073741824,"#);
    let (few_ids, many_ids) = (few.path("ids"), many.path("ids"));
    let (few_host, many_host) = (few.start(), many.start());
    fill(few_host.address(), FEW, &few_ids);
    let started = Instant::now();
    fill(many_host.address(), MANY, &many_ids);
    let rate = f64::from(MANY) / started.elapsed().as_secs_f64();
    println!("{MANY} sessions with 200 bytes of data and a user each, begun at {rate:.0} a second");

    let mut failed = 0;
    let mut compare = |many_host: &Pserve, what: &str| {
        let (mut few_seen, mut many_seen) = (Series::default(), Series::default());
        for _ in 0..ROUNDS {
            few_seen.measure(&few_host, &few_ids);
            many_seen.measure(many_host, &many_ids);
        }
        few_seen.print(&format!("{FEW} sessions"));
        many_seen.print(&format!("{MANY} sessions, {what}"));
        many_seen.compare(&few_seen, &format!("a million, {what}, to a thousand"));
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
    println!("{:.0} bytes of the file a session", full as f64 / f64::from(MANY));

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
    if failed == 0 && count > MANY as usize / 3 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// It cleans up when it starts, and then not for a day.
fn configure(site: &Site, more: &str) {
    site.sessman(&format!(r#"{{ {more} "cleanup_interval": 86400 }}"#));
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

/// Measurements of the same thing.
#[derive(Default)]
struct Series {
    get: Vec<Measured>,
    update: Vec<Measured>,
    failed: u64,
}

impl Series {
    fn measure(&mut self, host: &Pserve, ids: &Path) {
        let head = |line: &str| format!("{line} HTTP/1.1\r\nHost: localhost\r\nX-Session-Id: {{id}}\r\n");
        let body = format!(r#"{{"data":{{"n":"{NUMBER}","text":"{}"}}}}"#, "x".repeat(180));
        let get = format!("{}\r\n", head("GET /sessman/get"));
        let update = format!("{}Content-Length: {}\r\n\r\n{body}", head("POST /sessman/update"), body.len());
        for (request, series) in [(get, &mut self.get), (update, &mut self.update)] {
            series.push(load(host.address(), &Requests::new(&request), ids, CONNECTIONS, LONG));
        }
        for measured in [self.get.last(), self.update.last()].into_iter().flatten() {
            self.failed += measured.failed;
        }
    }

    fn print(&self, what: &str) {
        for (operation, measured) in [("get", &self.get), ("update", &self.update)] {
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
        for (operation, ours, theirs) in
            [("get", &self.get, &base.get), ("update", &self.update, &base.update)]
        {
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
