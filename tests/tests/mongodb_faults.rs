//! A `server_url` behind which there is no MongoDB: a 503 in time, and no password in the log.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use e2e::pserve::Site;
use serde_json::{Value, json};

const PASSWORD: &str = "correct-horse-battery";

/// Promised are 2 s; the rest is for a machine that does other things too.
const IN_TIME: Duration = Duration::from_secs(5);

/// Checks what a host answers whose MongoDB is said to be at `address`, and that the log gives `reason`.
fn is_an_outage(address: &str, reason: &str) {
    answers_503(&json!({ "server_url": address, "username": "ada", "password": PASSWORD }), reason);
}

fn answers_503(config: &Value, reason: &str) {
    let site = Site::new();
    site.sessman(&config.to_string());
    let started = Instant::now();
    let pserve = site.start();
    assert!(started.elapsed() < Duration::from_secs(10), "the start waited: {:?}", started.elapsed());
    let client = pserve.client();
    let id = "A".repeat(48);
    let requests = [
        ("/sessman/new", json!({ "user": "ada" })),
        ("/sessman/get", json!({ "token": id })),
        ("/sessman/update", json!({ "token": id, "data": 1 })),
        ("/sessman/end", json!({ "token": id })),
    ];
    thread::scope(|scope| {
        for (path, body) in requests {
            let client = pserve.client();
            scope.spawn(move || {
                let started = Instant::now();
                let answer = client.post(path, body).expect(503);
                assert!(started.elapsed() < IN_TIME, "{path}: {:?}", started.elapsed());
                assert!(answer.header("retry-after").unwrap().parse::<u32>().is_ok(), "{answer:?}");
                assert!(!answer.text.contains(PASSWORD), "{answer:?}");
            });
        }
        let ready = client.get("/readyz").expect(503).text;
        assert!(!ready.contains(PASSWORD), "{ready}");
        client.get("/healthz").expect(200);
    });
    pserve.wait_for_log("no server takes writes");
    let log = pserve.log();
    assert!(pserve.stop().success());
    assert!(!log.contains(PASSWORD), "{log}");
    let said = log.lines().find(|line| line.contains("no server takes writes"));
    assert!(said.is_some_and(|line| line.contains("WARN") && line.contains(reason)), "{reason:?}: {log}");
}

#[test]
fn a_name_that_cannot_be_resolved_is_an_outage() {
    // The top-level domain of RFC 6761 that no resolver knows.
    is_an_outage("mongodb.invalid:27017", "failed to lookup address");
}

#[test]
fn a_port_that_nobody_listens_on_is_an_outage() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    is_an_outage(&address.to_string(), "Connection refused");
    answers_503(
        &json!({ "server_url": format!("mongodb://ada:{PASSWORD}@{address}/admin") }),
        "Connection refused",
    );
}

#[test]
fn a_server_that_speaks_http_is_an_outage() {
    let server = Server::start(|mut stream| {
        let _ =
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    });
    is_an_outage(&server.address, "invalid reply");
}

#[test]
fn a_server_that_says_nothing_is_an_outage() {
    let server = Server::start(|mut stream| {
        // Until the other side has given up.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    is_an_outage(&server.address, "Server selection timeout");
}

#[test]
fn a_server_that_hangs_up_at_once_is_an_outage() {
    let server = Server::start(drop);
    // The driver sees an end or a reset, as it happens.
    is_an_outage(&server.address, "Server selection timeout");
}

/// A server that is no MongoDB; it ends with the test's process.
struct Server {
    address: String,
}

impl Server {
    fn start(serve: impl Fn(TcpStream) + Send + Copy + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || serve(stream));
            }
        });
        Self { address }
    }
}
