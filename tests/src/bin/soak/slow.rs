//! 2,000 connections that send their headers or bodies a byte at a time, while normal requests go on.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use e2e::http::Client;
use e2e::pserve::{Pserve, Site};
use serde_json::json;

const CONNECTIONS: usize = 2_000;
/// Each connection sends a byte so often.
const DRIP: Duration = Duration::from_millis(500);
/// How long normal requests are measured, each time.
const MEASURE: Duration = Duration::from_secs(20);
/// Normal clients at a time.
const CLIENTS: usize = 4;

/// What goes on first on a slow connection: most of the headers, or all of them and no body.
const HEADERS: &[u8] = b"POST /sessman/new HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";
const BODY: &[u8] = b"POST /sessman/new HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000\r\n\r\n";

/// Measures quiet, with the slow connections, and quiet again.
pub(crate) fn run() -> ExitCode {
    let site = Site::new();
    site.ini("[plugin_parms]\nsessman=backend=memory");
    let pserve = site.start();
    let client = pserve.client();
    let id = client.post("/sessman/new", json!({ "data": { "a": 1 } })).expect(201).member("session_id");
    measure(&client, &id, Duration::from_secs(2));
    let before = measure(&client, &id, MEASURE);
    let (stop, open, closed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let (slow, least) = thread::scope(|scope| {
        scope.spawn(|| drip(&pserve, &stop, &open, &closed));
        while open.load(Ordering::Relaxed) < CONNECTIONS {
            thread::sleep(Duration::from_millis(20));
        }
        let slow = measure(&client, &id, MEASURE);
        let least = open.load(Ordering::Relaxed);
        stop.store(true, Ordering::Relaxed);
        (slow, least)
    });
    let after = measure(&client, &id, MEASURE);
    let quiet = before.p99().min(after.p99());
    for (when, seen) in [("quiet", &before), ("with slow connections", &slow), ("quiet again", &after)] {
        println!(
            "{when:<22} {:>7} requests, {} failed; p50 {:?}, p99 {:?}",
            seen.times.len(),
            seen.failed,
            seen.at(0.5),
            seen.p99()
        );
    }
    println!(
        "slow connections: {least} open at the end; the host closed {} of them meanwhile, others took their place",
        closed.load(Ordering::Relaxed)
    );
    println!("p99 with slow connections is {:.2} of quiet", slow.p99().as_secs_f64() / quiet.as_secs_f64());
    let failed = before.failed + slow.failed + after.failed;
    if failed == 0 && least == CONNECTIONS { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Keeps `CONNECTIONS` slow connections open until it is told to stop.
fn drip(pserve: &Pserve, stop: &AtomicBool, open: &AtomicUsize, closed: &AtomicUsize) {
    let mut streams: Vec<TcpStream> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        while streams.len() < CONNECTIONS {
            let begin = if streams.len().is_multiple_of(2) { HEADERS } else { BODY };
            let mut stream = TcpStream::connect(pserve.address()).expect("a connection");
            stream.write_all(begin).expect("its beginning is sent");
            stream.set_nonblocking(true).expect("it does not block");
            streams.push(stream);
        }
        open.store(streams.len(), Ordering::Relaxed);
        let round = Instant::now();
        let before = streams.len();
        streams.retain_mut(|stream| {
            let is_closed = match stream.read(&mut [0; 1024]) {
                Ok(_) => true,
                Err(error) => error.kind() != ErrorKind::WouldBlock,
            };
            !is_closed && stream.write(b"x").is_ok()
        });
        closed.fetch_add(before - streams.len(), Ordering::Relaxed);
        thread::sleep(DRIP.saturating_sub(round.elapsed()));
    }
}

/// What normal requests saw.
struct Seen {
    /// Sorted.
    times: Vec<Duration>,
    failed: usize,
}

impl Seen {
    fn at(&self, part: f64) -> Duration {
        let last = self.times.len().saturating_sub(1);
        self.times.get((last as f64 * part) as usize).copied().unwrap_or_default()
    }

    fn p99(&self) -> Duration {
        self.at(0.99)
    }
}

fn measure(client: &Client, id: &str, long: Duration) -> Seen {
    let until = Instant::now() + long;
    let path = format!("/sessman/get?session_id={id}");
    let one = || {
        let client = client.clone();
        let (mut times, mut failed) = (Vec::new(), 0);
        while Instant::now() < until {
            let started = Instant::now();
            match client.try_send("GET", &path, "") {
                Ok(answer) if answer.status == 200 => times.push(started.elapsed()),
                _ => failed += 1,
            }
        }
        (times, failed)
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(one)).collect();
        let mut seen = Seen { times: Vec::new(), failed: 0 };
        for client in clients {
            let (times, failed) = client.join().expect("no client panicked");
            seen.times.extend(times);
            seen.failed += failed;
        }
        seen.times.sort_unstable();
        seen
    })
}
