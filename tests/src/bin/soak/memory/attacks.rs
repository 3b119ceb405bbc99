//! What takes memory of a host, each in a way of its own, from where the thread is that runs it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use e2e::http::Client;
use e2e::tls::{Frames, get, header, post, request};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::process::setpriority_process;
use serde_json::json;

use super::caller::Caller;
use super::{ADMIN, KEY};

/// One of them, which goes on until it is told to stop.
#[derive(Clone, Copy)]
pub(super) struct Attack {
    pub(super) name: &'static str,
    pub(super) run: fn(&Target, &str, &AtomicBool),
}

/// What is attacked.
pub(super) struct Target {
    port: String,
    /// A session of 250 KB, and one of a user who has many.
    large: String,
    one_of_many: String,
}

pub(super) const PLAIN: &[Attack] = &[
    Attack { name: "bodies without a key", run: bodies },
    Attack { name: "bodies with a key", run: bodies_with_key },
    Attack { name: "answers nobody reads", run: unread },
    Attack { name: "empty answers nobody reads", run: empty_unread },
    Attack { name: "pages nobody reads", run: pages },
    Attack { name: "event streams", run: events },
    Attack { name: "long headers", run: headers },
    Attack { name: "large metadata and ids", run: large },
    Attack { name: "thousands of users", run: users },
    Attack { name: "lists", run: lists },
    Attack { name: "reloads", run: reloads },
];

pub(super) const SECURE: &[Attack] = &[
    Attack { name: "windows of 0, sessions", run: no_window },
    Attack { name: "windows of 0, openapi.json", run: no_window_public },
    Attack { name: "answers nobody reads", run: unread_2 },
    Attack { name: "bodies", run: bodies_2 },
    Attack { name: "long headers, no body", run: headers_2 },
    Attack { name: "headers without an end", run: open_headers_2 },
    Attack { name: "reloads", run: reloads },
];

const BODIES: usize = 129;
const CONNECTIONS: usize = 21;
/// Between two looks at the connections.
const ROUND: Duration = Duration::from_millis(200);

impl Target {
    /// Fills the cache of the host, as honest users do.
    pub(super) fn prepare(port: String, caller: &Caller) -> Self {
        let new = |user: &str, length: usize| {
            let data = json!({ "user_id": user, "data": { "text": "x".repeat(length) } });
            let made = caller.ask("POST", "/sessman/new", &data);
            let id = made["session_id"].as_str().expect("an id").to_owned();
            caller.ask("POST", "/sessman/get", &json!({ "session_id": id }));
            id
        };
        for n in 0..600 {
            new(&format!("user-{n}"), 150_000);
        }
        for _ in 0..40 {
            new("many", 200_000);
        }
        Self { port, large: new("one", 250_000), one_of_many: new("many", 200_000) }
    }
}

/// Connections that send and read nothing, or all; one that was closed is made again.
struct Crowd<'a> {
    address: String,
    sent: &'a [u8],
    reads: bool,
    again: bool,
}

impl Crowd<'_> {
    fn run(&self, count: usize, stop: &AtomicBool) {
        let _ = setpriority_process(None, 19);
        let mut open: Vec<(TcpStream, usize)> = Vec::new();
        let mut buffer = [0; 16 * 1024];
        while !stop.load(Ordering::Relaxed) {
            let round = Instant::now();
            while open.len() < count && !stop.load(Ordering::Relaxed) {
                let Ok(stream) = TcpStream::connect(&self.address) else { break };
                stream.set_nonblocking(true).expect("it does not block");
                if !self.reads {
                    // What nobody reads is to wait at the host, not here.
                    let _ = set_socket_recv_buffer_size(&stream, 4_096);
                }
                open.push((stream, 0));
            }
            open.retain_mut(|(stream, at)| {
                loop {
                    if *at == self.sent.len() && self.again {
                        *at = 0;
                    }
                    match stream.write(&self.sent[*at..]) {
                        Ok(0) => break,
                        Ok(length) => *at += length,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(_) => return false,
                    }
                    if round.elapsed() > 5 * ROUND {
                        break;
                    }
                }
                loop {
                    let read = if self.reads { stream.read(&mut buffer) } else { stream.peek(&mut buffer) };
                    match read {
                        Ok(0) => return false,
                        Ok(_) if self.reads => {}
                        Ok(_) => return true,
                        Err(error) => return error.kind() == ErrorKind::WouldBlock,
                    }
                }
            });
            thread::sleep(ROUND.saturating_sub(round.elapsed()).max(ROUND / 4));
        }
    }
}

fn crowd(target: &Target, host: &str, count: usize, sent: &[u8], stop: &AtomicBool) {
    let address = format!("{host}:{}", target.port);
    Crowd { address, sent, reads: false, again: false }.run(count, stop);
}

fn body(headers: &str) -> Vec<u8> {
    let head = format!("POST /sessman/new HTTP/1.1\r\nHost: a\r\n{headers}Content-Length: 1048576\r\n\r\n");
    [head.as_bytes(), &vec![b' '; (1 << 20) - 1]].concat()
}

fn bodies(target: &Target, host: &str, stop: &AtomicBool) {
    let address = format!("{host}:{}", target.port);
    Crowd { address, sent: &body(""), reads: true, again: false }.run(BODIES, stop);
}

fn bodies_with_key(target: &Target, host: &str, stop: &AtomicBool) {
    let address = format!("{host}:{}", target.port);
    let sent = body(&format!("Authorization: Bearer {KEY}\r\n"));
    Crowd { address, sent: &sent, reads: true, again: false }.run(BODIES, stop);
}

fn unread(target: &Target, host: &str, stop: &AtomicBool) {
    let asked = format!("GET /sessman/get HTTP/1.1\r\nHost: a\r\nX-Session-Id: {}\r\n\r\n", target.large);
    crowd(target, host, BODIES, asked.repeat(100).as_bytes(), stop);
}

fn pages(target: &Target, host: &str, stop: &AtomicBool) {
    let asked =
        format!("GET /sessman/mine HTTP/1.1\r\nHost: a\r\nX-Session-Id: {}\r\n\r\n", target.one_of_many);
    crowd(target, host, BODIES, asked.repeat(20).as_bytes(), stop);
}

fn empty_unread(target: &Target, host: &str, stop: &AtomicBool) {
    let sent = "HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1_000);
    let address = format!("{host}:{}", target.port);
    Crowd { address, sent: sent.as_bytes(), reads: false, again: true }.run(4, stop);
}

fn events(target: &Target, host: &str, stop: &AtomicBool) {
    let head = format!("Host: a\r\nAuthorization: Bearer {KEY}\r\nX-Admin-Key: {ADMIN}\r\n\r\n");
    crowd(target, host, 32, format!("GET /sessman/events HTTP/1.1\r\n{head}").as_bytes(), stop);
}

fn headers(target: &Target, host: &str, stop: &AtomicBool) {
    let sent = format!("GET /healthz HTTP/1.1\r\nHost: a\r\nX-Long: {}", "x".repeat(63_000));
    crowd(target, host, 1_000, sent.as_bytes(), stop);
}

/// A back end that has the key, and asks for this again and again.
fn back_end(target: &Target, host: &str, stop: &AtomicBool, mut ask: impl FnMut(&Client, usize)) {
    let _ = setpriority_process(None, 19);
    let scheme = format!("http://{host}:{}", target.port);
    let client =
        Client::new(&scheme).with("authorization", &format!("Bearer {KEY}")).with("x-admin-key", ADMIN);
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        ask(&client, n);
        thread::sleep(Duration::from_millis(10));
    }
}

fn large(target: &Target, host: &str, stop: &AtomicBool) {
    back_end(target, host, stop, |client, n| {
        let new = json!({
            "external_id": format!("{n:0>200}"), "user_id": "u".repeat(200),
            "metadata": { "m": "m".repeat(4_000) }, "data": { "text": "x".repeat(250_000) }
        });
        let _ = client.try_send("POST", "/sessman/new", &new.to_string());
    });
}

fn users(target: &Target, host: &str, stop: &AtomicBool) {
    back_end(target, host, stop, |client, n| {
        for m in 0..10 {
            let new = json!({ "user_id": format!("{host}-{n}-{m}"), "data": { "text": "x".repeat(2_000) } });
            let _ = client.try_send("POST", "/sessman/new", &new.to_string());
        }
    });
}

fn lists(target: &Target, host: &str, stop: &AtomicBool) {
    back_end(target, host, stop, |client, _| {
        let _ = client.try_send("GET", "/sessman/list?limit=1000", "");
    });
}

fn reloads(target: &Target, host: &str, stop: &AtomicBool) {
    // One of the two is enough: they take turns anyway. By HTTP/2 it has a client of its own.
    let asked = format!(
        "POST /reload/sessman HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n\r\n"
    );
    while host != "127.0.0.1" && !stop.load(Ordering::Relaxed) {
        if let Ok(mut stream) = TcpStream::connect(format!("{host}:{}", target.port)) {
            let _ = stream.write_all(asked.as_bytes());
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            let _ = stream.read_to_end(&mut Vec::new());
        }
        thread::sleep(Duration::from_secs(3));
    }
}

/// Connections that send this; one that was closed is made again.
fn frames(make: impl Fn() -> Frames, sent: &[u8], stop: &AtomicBool) {
    let _ = setpriority_process(None, 19);
    let mut open: Vec<Frames> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        open.retain_mut(|frames| !frames.has_ended());
        while open.len() < CONNECTIONS && !stop.load(Ordering::Relaxed) {
            let mut frames = make();
            frames.send(sent);
            open.push(frames);
        }
        thread::sleep(ROUND);
    }
}

fn streams(block: &[u8], ends: bool) -> Vec<u8> {
    (1..200).step_by(2).flat_map(|stream| request(stream, block, ends)).collect()
}

/// SETTINGS_INITIAL_WINDOW_SIZE is 0.
const NO_WINDOW: &[u8] = &[0, 4, 0, 0, 0, 0];
/// It is all there is.
const ANY_WINDOW: &[u8] = &[0, 4, 0x7f, 0xff, 0xff, 0xff];

fn no_window(target: &Target, host: &str, stop: &AtomicBool) {
    let address = format!("{host}:{}", target.port);
    let asked = streams(&get(&format!("/sessman/get?session_id={}", target.large)), true);
    frames(|| Frames::connect(&address, NO_WINDOW), &asked, stop);
}

fn no_window_public(target: &Target, host: &str, stop: &AtomicBool) {
    let address = format!("{host}:{}", target.port);
    let asked = streams(&get("/sessman/openapi.json"), true);
    frames(|| Frames::connect(&address, NO_WINDOW), &asked, stop);
}

fn unread_2(target: &Target, host: &str, stop: &AtomicBool) {
    let address = format!("{host}:{}", target.port);
    let asked = streams(&get(&format!("/sessman/get?session_id={}", target.large)), true);
    // A window for the connection, too.
    let window = e2e::tls::frame(8, 0, 0, &[0x7f, 0, 0, 0]);
    let asked = [window, asked].concat();
    frames(|| Frames::connect_and_read_nothing(&address, ANY_WINDOW), &asked, stop);
}

fn bodies_2(target: &Target, host: &str, stop: &AtomicBool) {
    let address = format!("{host}:{}", target.port);
    let mut sent = streams(&post("/sessman/new"), false);
    for stream in (1..200).step_by(2) {
        sent.extend(e2e::tls::frame(0, 0, stream, &[b' '; 650]));
    }
    frames(|| Frames::connect(&address, NO_WINDOW), &sent, stop);
}

fn headers_2(target: &Target, host: &str, stop: &AtomicBool) {
    let address = format!("{host}:{}", target.port);
    let block = [post("/sessman/new"), header("x-long", &"x".repeat(60_000))].concat();
    let sent = streams(&block, false);
    frames(|| Frames::connect(&address, NO_WINDOW), &sent, stop);
}

fn open_headers_2(target: &Target, host: &str, stop: &AtomicBool) {
    let address = format!("{host}:{}", target.port);
    let block = [get("/healthz"), header("x-long", &"x".repeat(60_000))].concat();
    let mut sent = request(1, &block, true);
    // The end is missing.
    sent.truncate(sent.len() - 1);
    frames(|| Frames::connect(&address, NO_WINDOW), &sent, stop);
}
