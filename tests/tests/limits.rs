//! Limits, each one gone beyond.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use e2e::http::status;
use e2e::pserve::{Pserve, Site, eventually};
use e2e::tls::make_pair;
use rustix::process::Signal;
use serde_json::json;

/// Longer than any limit here, and than a busy machine takes.
const PATIENCE: Duration = Duration::from_secs(60);
const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// The headers of a request whose body does not come.
const UNFINISHED: &[u8] = b"POST /sessman/new HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n";

fn start(limits: &str) -> (Site, Pserve) {
    let site = Site::new();
    site.ini(&format!("[limits]\n{limits}\n[plugin_parms]\nsessman=backend=memory\n"));
    let pserve = site.start();
    (site, pserve)
}

fn connect(pserve: &Pserve) -> TcpStream {
    let stream = TcpStream::connect(pserve.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What comes until the host closes the connection.
fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("the connection stays open"),
        _ => String::from_utf8_lossy(&bytes).into_owned(),
    }
}

/// One answer on a connection that stays open.
fn answer(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.ends_with('}') {
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "closed after {text:?}");
        text.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    text
}

/// Sends a byte from time to time until the host answers or closes; then what it said, and whether a limit of
/// `seconds` was kept to: not before it.
fn drip(mut stream: TcpStream, begin: &[u8], seconds: u64) -> String {
    let started = Instant::now();
    stream.write_all(begin).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => said.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
        assert!(started.elapsed() < PATIENCE, "never closed");
        let _ = stream.write_all(b"x");
    }
    assert!(started.elapsed() >= Duration::from_secs(seconds), "closed after {:?}", started.elapsed());
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn header_timeout_with_nothing_and_with_a_byte_at_a_time() {
    let (_site, pserve) = start("header_timeout=1");
    let silent = connect(&pserve);
    let dripping = connect(&pserve);
    assert_eq!(drip(dripping, b"GET /healthz HTTP/1.1\r\nX-Long: ", 1), "");
    assert_eq!(rest(silent), "");
    // The second request on a connection has the same time.
    let mut second = connect(&pserve);
    second.write_all(HEALTH).unwrap();
    assert_eq!(status(&answer(&mut second)), Some(200));
    assert_eq!(drip(second, b"GET /healthz HTTP/1.1\r\nX-Long: ", 1), "");
}

#[test]
fn request_timeout_with_a_body_a_byte_at_a_time() {
    let (_site, pserve) = start("request_timeout=1");
    let said = drip(connect(&pserve), UNFINISHED, 1);
    assert_eq!(status(&said), Some(408), "{said}");
    assert!(said.contains("application/problem+json"), "{said}");
}

#[test]
fn keepalive_timeout_ends_an_idle_connection() {
    let (_site, pserve) = start("keepalive_timeout=1");
    let mut stream = connect(&pserve);
    for _ in 0..2 {
        stream.write_all(HEALTH).unwrap();
        assert_eq!(status(&answer(&mut stream)), Some(200));
    }
    let idle = Instant::now();
    assert_eq!(rest(stream), "");
    assert!(idle.elapsed() >= Duration::from_millis(900), "{:?}", idle.elapsed());
}

#[test]
fn beyond_max_connections_one_waits_until_another_ends() {
    let (_site, pserve) = start("max_connections=2\nrequest_timeout=600\nheader_timeout=600");
    let mut open: Vec<TcpStream> = (0..2).map(|_| connect(&pserve)).collect();
    for stream in &mut open {
        stream.write_all(UNFINISHED).unwrap();
    }
    // They have to be with the host as requests before another one comes.
    thread::sleep(Duration::from_millis(300));
    let mut third = connect(&pserve);
    third.write_all(HEALTH).unwrap();
    third.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let early = third.read(&mut [0; 1]);
    assert!(early.is_err(), "it was answered: {early:?}");
    drop(open.pop());
    third.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(status(&answer(&mut third)), Some(200));
}

#[test]
fn beyond_max_in_flight_there_is_a_503_at_once() {
    let site = Site::new();
    site.plugin("libmisbehaves.so");
    site.ini("[limits]\nmax_in_flight=1\nrequest_timeout=600\n[plugin_parms]\nsessman=backend=memory\n");
    let pserve = site.start();
    let mut slow = connect(&pserve);
    slow.write_all(b"GET /misbehaves/never HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let client = pserve.client();
    eventually("the first request is in", || client.post("/sessman/new", json!({})).status == 503);
    let refused = client.post("/sessman/new", json!({})).expect(503);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(refused.member("error").contains("max_in_flight"), "{refused:?}");
    // The host's own routes are not among them.
    client.get("/healthz").expect(200);
    drop(slow);
    eventually("there is room again", || client.post("/sessman/new", json!({})).status == 201);
}

#[test]
fn bodies_that_drip_take_nobodys_place() {
    let (_site, pserve) = start("max_in_flight=1\nmax_body=1000\nrequest_timeout=600");
    let mut slow: Vec<TcpStream> = (0..10).map(|_| connect(&pserve)).collect();
    for stream in &mut slow {
        stream.write_all(UNFINISHED).unwrap();
        stream.write_all(b"{").unwrap();
    }
    for _ in 0..10 {
        pserve.client().post("/sessman/new", json!({})).expect(201);
    }
}

#[test]
fn shutdown_grace_is_all_that_a_request_gets_at_the_end() {
    let (_site, pserve) = start("shutdown_grace=1\nrequest_timeout=600");
    let mut slow = connect(&pserve);
    slow.write_all(UNFINISHED).unwrap();
    let mut idle = connect(&pserve);
    idle.write_all(HEALTH).unwrap();
    assert_eq!(status(&answer(&mut idle)), Some(200));
    // Once the host is told, an idle connection ends, and the request under way has a second.
    thread::scope(|scope| {
        let stopped = scope.spawn(|| {
            let started = Instant::now();
            let log = pserve.log();
            assert!(!log.contains("shutdown_grace"), "{log}");
            (pserve.stop(), started.elapsed())
        });
        assert_eq!(rest(idle), "");
        let (status, took): (ExitStatus, Duration) = stopped.join().unwrap();
        assert!(status.success());
        assert!(took >= Duration::from_secs(1), "{took:?}");
    });
    let said = rest(slow);
    assert_eq!(said, "", "no answer was promised");
}

#[test]
fn a_request_under_way_is_answered_within_the_grace() {
    let (_site, pserve) = start("shutdown_grace=60\nrequest_timeout=60");
    let mut slow = connect(&pserve);
    let body = br#"{"user_id":"ann"}"#;
    let head =
        format!("POST /sessman/new HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    slow.write_all(head.as_bytes()).unwrap();
    slow.write_all(&body[..1]).unwrap();
    // The request has to be with the host before it is told to stop.
    thread::sleep(Duration::from_millis(300));
    pserve.signal(Signal::TERM);
    pserve.wait_for_log("stopping");
    slow.write_all(&body[1..]).unwrap();
    assert_eq!(status(&rest(slow)), Some(201));
    assert!(!pserve.log().contains("not answered"));
}

/// Connects, says so, and asks once it is told to.
const LATE: &str = r#"
import socket, ssl, sys
host, port = sys.argv[1].split(":")
stream = socket.create_connection((host, int(port)), 60)
print("connected", flush=True)
sys.stdin.readline()
if len(sys.argv) > 2:
    stream = ssl.create_default_context(cafile=sys.argv[2]).wrap_socket(stream, server_hostname="localhost")
stream.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
print(stream.recv(12).decode())
"#;

#[test]
fn who_has_just_connected_is_answered_although_it_stops() {
    for tls in [None, Some("[ssl]\nenabled=true\ncertfile=a.pem\nkeyfile=a.key\n")] {
        let is_answered = || {
            let site = Site::new();
            let mut python = Command::new("python3");
            if tls.is_some() {
                make_pair(&site, "a");
            }
            site.ini(&format!("{}[plugin_parms]\nsessman=backend=memory\n", tls.unwrap_or_default()));
            let pserve = site.start();
            python.args(["-c", LATE, pserve.address()]).args(tls.map(|_| site.path("a.pem")));
            let mut late = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let mut said = BufReader::new(late.stdout.take().unwrap()).lines();
            assert_eq!(said.next().unwrap().unwrap(), "connected");
            // It has to be let in before.
            thread::sleep(Duration::from_millis(300));
            pserve.signal(Signal::TERM);
            pserve.wait_for_log("stopping");
            late.stdin.take().unwrap().write_all(b"now\n").unwrap();
            let answer = said.next().and_then(Result::ok);
            late.wait().unwrap();
            answer.as_deref() == Some("HTTP/1.1 200")
        };
        // A busy machine may take longer than it is waited for.
        assert!((0..5).any(|_| is_answered()), "{tls:?}");
    }
}

#[test]
fn a_patch_that_removes_thousands_of_members_is_done_and_one_above_max_data_bytes_is_refused() {
    let (_site, pserve) = start("");
    let client = pserve.client();
    let members = |count: usize, value: &str| {
        let members: Vec<String> = (0..count).map(|n| format!("\"{n:06}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    };
    let new = format!("{{\"data\":{}}}", members(16_000, "1"));
    let id = client.send("POST", "/sessman/new", &new).expect(201).member("session_id");
    let path = format!("/sessman/update?session_id={id}");
    let patched = client.send("PATCH", &path, &members(16_000, "null")).expect(200).json();
    assert_eq!(patched["data"], json!({}));
    let patch = members(32_000, "null");
    let refused = client.send("PATCH", &path, &patch).expect(413).member("error");
    assert_eq!(refused, format!("the patch has {} bytes as JSON; at most 262144 are accepted", patch.len()));
}
