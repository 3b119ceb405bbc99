//! Memory that strangers can make a host take, each in the way that takes the most.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use e2e::http::status;
use e2e::pserve::{Pserve, Site, eventually};
use e2e::tls::{Frames, curl, frame, get, header, make_pair, request};
use serde_json::json;

/// What it may grow by, in KiB: a part of the 512 MiB that the shipped files give it.
const GROWTH: u64 = 160 * 1024;
const KEYED: &str = "[auth]\napikey=k\n[limits]\nmax_in_flight=256\n";

/// By how many KiB it has grown.
fn growth(pserve: &Pserve, before: u64) -> u64 {
    pserve.memory_kib().saturating_sub(before)
}

/// Sends a request of which a part is missing; the error is for one that was refused meanwhile.
fn send(pserve: &Pserve, head: &str, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(pserve.address()).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!("POST /sessman/new HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n");
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    stream
}

#[test]
fn bodies_of_strangers_take_little_and_hold_up_nobody_who_has_the_key() {
    let site = Site::new();
    site.ini(&format!("{KEYED}request_timeout=600\n[plugin_parms]\nsessman=backend=memory\n"));
    let pserve = site.start();
    let client = pserve.client().with("authorization", "Bearer k");
    client.post("/sessman/new", json!({})).expect(201);
    let before = pserve.memory_kib();
    let body = vec![b' '; (1 << 20) - 1];
    let chunk = [b"100000\r\n", &body[..]].concat();
    let mut open = Vec::new();
    for n in 0..258 {
        open.push(match n % 2 {
            0 => send(&pserve, "Content-Length: 1048576", &body),
            _ => send(&pserve, "Transfer-Encoding: chunked", &chunk),
        });
    }
    let grown = growth(&pserve, before);
    assert!(grown < GROWTH, "by {grown} KiB");
    for _ in 0..20 {
        client.post("/sessman/new", json!({})).expect(201);
    }
    drop(open);
    // A larger body is told what it needs, and then it comes in.
    let large = json!({ "data": { "text": "x".repeat(100_000) } });
    let refused = pserve.client().post("/sessman/new", large.clone()).expect(413);
    assert!(refused.member("error").contains("Authorization: Bearer"), "{refused:?}");
    client.post("/sessman/new", large).expect(201);
}

#[test]
fn bodies_that_are_let_in_count_as_they_are_allocated() {
    let site = Site::new();
    site.ini(
        "[auth]\napikey=k\n[limits]\nmax_memory=134217728\nrequest_timeout=600\n[plugin_parms]\nsessman=backend=memory\n",
    );
    let pserve = site.start();
    let client = pserve.client().with("authorization", "Bearer k");
    client.post("/sessman/new", json!({})).expect(201);
    let before = pserve.memory_kib();
    let body = vec![b' '; (1 << 20) - 1];
    let open: Vec<TcpStream> = (0..258)
        .map(|_| send(&pserve, "Authorization: Bearer k\r\nContent-Length: 1048576", &body))
        .collect();
    let grown = growth(&pserve, before);
    assert!(grown < 100 * 1024, "by {grown} KiB");
    for _ in 0..20 {
        client.post("/sessman/new", json!({})).expect(201);
    }
    let refused = open.iter().filter(|stream| {
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut answer = [0; 4096];
        let length = (&**stream).read(&mut answer).unwrap_or(0);
        length > 0 && status(&String::from_utf8_lossy(&answer[..length])) == Some(503)
    });
    assert!(refused.count() > 100);
}

/// With TLS, where a live session's id is enough to read it.
fn tls_site() -> Site {
    let site = Site::new();
    make_pair(&site, "a");
    site.write("sessman.json", r#"{ "backend": "memory", "client_access": "read" }"#);
    site.ini(&format!(
        "{KEYED}request_timeout=600\n[ssl]\nenabled=true\ncertfile=a.pem\nkeyfile=a.key\n[log]\naccess=true\n\
         [plugin_parms]\nsessman=json=sessman.json\n"
    ));
    site
}

#[test]
fn answers_that_nobody_takes_over_http_2_are_counted() {
    let site = tls_site();
    let pserve = site.start();
    let url = |path: &str| format!("https://{}/sessman/{path}", pserve.address());
    site.write("new", json!({ "data": { "text": "x".repeat(250_000) } }).to_string());
    let (data, new) = (format!("@{}", site.path("new").display()), url("new"));
    let key = ["-H", "Authorization: Bearer k"];
    let made = curl(&site.path("a.pem"), &[&key[..], &["-d", &data, &new]].concat()).stdout;
    let made: serde_json::Value = serde_json::from_slice(&made).unwrap();
    let id = made["session_id"].as_str().unwrap_or_else(|| panic!("{made}"));
    let path = format!("/sessman/get?session_id={id}");
    let before = pserve.memory_kib();
    // SETTINGS_INITIAL_WINDOW_SIZE is 0.
    let mut connections: Vec<Frames> =
        (0..21).map(|_| Frames::connect(pserve.address(), &[0, 4, 0, 0, 0, 0])).collect();
    for connection in &mut connections {
        let asked: Vec<u8> =
            (1..200).step_by(2).flat_map(|stream| frame(1, 5, stream, &get(&path))).collect();
        assert!(connection.send(&asked));
    }
    eventually("all are answered", || pserve.log().matches("route=\"/sessman/get\"").count() >= 2_100);
    let grown = growth(&pserve, before);
    assert!(grown < GROWTH, "by {grown} KiB");
    let with_key = curl(
        &site.path("a.pem"),
        &[&key[..], &["-o", "/dev/null", "-w", "%{http_code}", &url(&path[9..])]].concat(),
    );
    assert_eq!(String::from_utf8_lossy(&with_key.stdout), "200");
    assert!(connections.iter_mut().all(|connection| !connection.has_ended()));
}

#[test]
fn answers_that_are_late_hold_no_request() {
    let site = tls_site();
    let pserve = site.start();
    let key = ["-H", "Authorization: Bearer k"];
    let late = || {
        let metrics = curl(
            &site.path("a.pem"),
            &[&key[..], &[&format!("https://{}/metrics", pserve.address())]].concat(),
        );
        let metrics = String::from_utf8_lossy(&metrics.stdout).into_owned();
        let line = "pserve_guesses_total{secret=\"session_id\",result=\"slowed\"} ";
        metrics.lines().find_map(|found| found.strip_prefix(line)?.parse().ok()).unwrap_or(0)
    };
    // Ids that no session has, each with a long header.
    let ask = |connection: &mut Frames, length: usize| {
        for stream in (1..200).step_by(2) {
            let id = header("x-session-id", &format!("{stream:048}"));
            let block = [get("/sessman/get"), id, header("x-long", &"x".repeat(length))].concat();
            connection.send(&request(stream, &block, true));
        }
    };
    let mut first = Frames::connect(pserve.address(), &[]);
    ask(&mut first, 10);
    eventually("those that are free are used up", || late() > 0);
    let (before, late_before) = (pserve.memory_kib(), late());
    let mut connections: Vec<Frames> = (0..10).map(|_| Frames::connect(pserve.address(), &[])).collect();
    connections.iter_mut().for_each(|connection| ask(connection, 60_000));
    eventually("some are late", || late() > late_before + 700);
    let grown = growth(&pserve, before);
    assert!(grown < 48 * 1024, "by {grown} KiB");
}
