//! Normal requests while another address keeps 10,000 connections that send their headers or bodies a byte at a time, and 200 that
//! idle: once with places for all of them, and once with as many places as there are unless more are configured.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use e2e::http::Client;
use e2e::pserve::{Pserve, Site};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

const SLOW: usize = 10_000;
const IDLE: usize = 200;
/// Where they come from.
const GREEDY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Each slow connection sends a byte so often.
const DRIP: Duration = Duration::from_millis(2_500);
/// In so many parts.
const SLICES: usize = 50;
/// Connections that are opened again at a time, in place of those that the host closed.
const AGAIN: usize = 10;
/// How long normal requests are measured, each time.
const MEASURE: Duration = Duration::from_secs(20);
/// Normal clients at a time.
const CLIENTS: usize = 4;

/// What goes on first on a slow connection: most of the headers, or all of them and no body.
const HEADERS: &[u8] = b"POST /sessman/new HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";
const BODY: &[u8] = b"POST /sessman/new HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000\r\n\r\n";
const WHOLE: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Measures both.
pub(crate) fn run() -> ExitCode {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("as many files as there may be");
    let are_good = ["[limits]\nmax_connections=20000", ""].map(measure_with);
    if are_good == [true; 2] { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Measures quiet, with the slow connections, and quiet again.
fn measure_with(limits: &str) -> bool {
    let site = Site::new();
    site.ini(&format!("{limits}\n[plugin_parms]\nsessman=backend=memory"));
    let pserve = site.start();
    let client = pserve.client();
    let id = client.post("/sessman/new", json!({ "data": { "a": 1 } })).expect(201).member("session_id");
    measure(&client, &id, Duration::from_secs(2));
    let before = measure(&client, &id, MEASURE);
    let (stop, tried, closed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let slow = thread::scope(|scope| {
        scope.spawn(|| drip(&pserve, &stop, &tried, &closed));
        while tried.load(Ordering::Relaxed) < SLOW + IDLE {
            thread::sleep(Duration::from_millis(20));
        }
        let slow = measure(&client, &id, MEASURE);
        stop.store(true, Ordering::Relaxed);
        slow
    });
    thread::sleep(Duration::from_secs(2));
    let after = measure(&client, &id, MEASURE);
    let quiet = before.p99().min(after.p99());
    println!("{}", if limits.is_empty() { "max_connections as it is unless set" } else { limits });
    for (when, seen) in [("quiet", &before), ("with slow connections", &slow), ("quiet again", &after)] {
        println!(
            "{when:<22} {:>7} requests, {} failed; p50 {:?}, p99 {:?}",
            seen.times.len(),
            seen.failed,
            seen.at(0.5),
            seen.p99()
        );
    }
    let (tried, closed) = (tried.load(Ordering::Relaxed), closed.load(Ordering::Relaxed));
    println!("connections of the other address: {tried} opened, of which the host closed {closed}");
    let ratio = slow.p99().as_secs_f64() / quiet.as_secs_f64();
    println!("p99 with slow connections is {ratio:.2} of quiet");
    before.failed + slow.failed + after.failed == 0 && ratio <= 2.0
}

fn open(pserve: &Pserve, begin: &[u8]) -> Option<TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).ok()?;
    bind(&socket, &SocketAddrV4::new(GREEDY, 0)).ok()?;
    connect(&socket, &pserve.address().parse::<SocketAddrV4>().ok()?).ok()?;
    let mut stream = TcpStream::from(socket);
    // The host may have closed it already.
    let _ = stream.write_all(begin);
    stream.set_nonblocking(true).ok()?;
    Some(stream)
}

/// Keeps connections open, slow ones and idle ones, until it is told to stop. The work is spread over the time, as that of
/// 10,000 clients would be.
fn drip(pserve: &Pserve, stop: &AtomicBool, tried: &AtomicUsize, closed: &AtomicUsize) {
    let open = |begin: &[u8]| {
        tried.fetch_add(1, Ordering::Relaxed);
        open(pserve, begin)
    };
    let begin = |at: usize| if at.is_multiple_of(2) { HEADERS } else { BODY };
    let mut idle: Vec<TcpStream> = (0..IDLE).filter_map(|_| open(WHOLE)).collect();
    let mut slow: Vec<Vec<TcpStream>> = Vec::new();
    slow.resize_with(SLICES, || (0..SLOW / SLICES).filter_map(|at| open(begin(at))).collect());
    for slice in (0..SLICES).cycle() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let round = Instant::now();
        let some = &mut slow[slice];
        let before = idle.len() + some.len();
        idle.retain_mut(is_open);
        some.retain_mut(|stream| is_open(stream) && stream.write(b"x").is_ok());
        closed.fetch_add(before - idle.len() - some.len(), Ordering::Relaxed);
        let missing = (SLOW / SLICES).saturating_sub(some.len()).min(AGAIN);
        some.extend((0..missing).filter_map(|at| open(begin(at))));
        let missing = IDLE.saturating_sub(idle.len()).min(AGAIN);
        idle.extend((0..missing).filter_map(|_| open(WHOLE)));
        thread::sleep((DRIP / SLICES as u32).saturating_sub(round.elapsed()));
    }
}

/// Whether the host has not closed it; an answer to a whole request is read.
fn is_open(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 1024]) {
        Ok(length) => length > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
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
