//! Sockets: a Unix one beside the address, and both when the configuration changes.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::process::Command;
use std::time::Duration;

use e2e::http::{Client, status};
use e2e::ports;
use e2e::pserve::{Pserve, Site};
use serde_json::{Value, json};

fn ini(network: &str) -> String {
    format!(
        "[network]\nport=0\n{network}\n[auth]\napikey=k\n[plugin_parms]\nsessman=backend=memory&auth_type=none\n"
    )
}

/// A request by the socket; `null` if there is no JSON answer.
fn by_socket(site: &Site, socket: &str, path: &str, arguments: &[&str]) -> Value {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "60", "--unix-socket"]).arg(site.path(socket));
    let output = command.args(arguments).arg(format!("http://localhost{path}")).output().expect("curl runs");
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

fn reload(pserve: &Pserve, status: u16) -> String {
    pserve.client().with("X-Custom-Auth", "k").send("POST", "/reload/all", "").expect(status).text
}

#[test]
fn a_unix_socket_is_served_beside_the_address() {
    let site = Site::new();
    site.ini(&ini("unix_socket=s.sock"));
    let pserve = site.start();
    let metadata = fs::metadata(site.path("s.sock")).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
    let new = by_socket(&site, "s.sock", "/sessman/new", &["-d", r#"{"user_id":"ann"}"#]);
    // There is no client address, and nothing that says so is believed.
    let forged = by_socket(&site, "s.sock", "/sessman/new", &["-d", "{}", "-H", "X-Forwarded-For: 6.6.6.6"]);
    for new in [&new, &forged] {
        assert!(new["session_id"].is_string() && new["metadata"].get("client_ip").is_none(), "{new}");
    }
    let id = new["session_id"].as_str().unwrap();
    pserve.client().get(&format!("/sessman/get?session_id={id}")).expect(200);

    // Another process must not take it over while it is served; after a kill the next one does.
    let second = site.try_start().err().expect("it does not start");
    assert!(second.contains("s.sock") && second.contains("another process listens"), "{second}");
    assert_eq!(by_socket(&site, "s.sock", "/healthz", &[])["status"], "ok");
    pserve.kill_9();
    assert!(site.path("s.sock").exists());
    let pserve = site.start();
    assert_eq!(by_socket(&site, "s.sock", "/healthz", &[])["status"], "ok");
    assert!(pserve.stop().success());
    assert!(!site.path("s.sock").exists());
}

#[test]
fn what_is_open_by_default_asks_for_the_same_host_on_the_socket() {
    let site = Site::new();
    site.ini("[network]\nport=0\nunix_socket=s.sock\n[plugin_parms]\nsessman=backend=memory\n");
    let _pserve = site.start();
    let new = |header: &str| by_socket(&site, "s.sock", "/sessman/new", &["-d", "{}", "-H", header]);
    assert!(new("x: y")["session_id"].is_string());
    assert_eq!(new("Host: sessions.example.org")["status"], 403);
    assert_eq!(new("X-Forwarded-For: 127.0.0.1")["status"], 403);
}

#[test]
fn sockets_follow_a_reload_and_stay_if_a_new_one_cannot_be_had() {
    let site = Site::new();
    site.ini(&ini("unix_socket=one.sock"));
    let pserve = site.start();
    // A connection that is kept open outlives a reload that does not concern it.
    let kept = pserve.client();
    kept.get("/healthz").expect(200);
    site.ini(&ini("unix_socket=two.sock"));
    reload(&pserve, 200);
    assert_eq!(by_socket(&site, "two.sock", "/healthz", &[])["status"], "ok");
    assert!(!site.path("one.sock").exists());
    kept.get("/healthz").expect(200);

    // A port that somebody else has: nothing changes, the socket neither.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let other = ini("unix_socket=three.sock").replace("port=0", &format!("port={port}"));
    site.ini(&other);
    let refused = reload(&pserve, 422);
    assert!(
        refused.contains(&format!("127.0.0.1:{port}")) && refused.contains("nothing was changed"),
        "{refused}"
    );
    assert!(!site.path("three.sock").exists());
    assert_eq!(by_socket(&site, "two.sock", "/healthz", &[])["status"], "ok");
    kept.get("/healthz").expect(200);

    // Free again: the host moves, and the old port is closed.
    drop(taken);
    reload(&pserve, 200);
    let moved = Client::new(&format!("http://127.0.0.1:{port}"));
    moved.get("/healthz").expect(200);
    assert_eq!(by_socket(&site, "three.sock", "/healthz", &[])["status"], "ok");
    e2e::pserve::eventually("the old port is closed", || {
        pserve.client().try_send("GET", "/healthz", "").is_err()
    });
    moved.post("/sessman/new", json!({})).expect(201);
}

#[test]
fn whoever_waits_at_a_port_that_is_given_up_is_still_answered() {
    let site = Site::new();
    let one_place = |port: u16| {
        let limits = "[limits]\nmax_connections=1\nheader_timeout=600\n";
        format!("{limits}{}", ini("").replace("port=0", &format!("port={port}")))
    };
    site.ini(&one_place(0));
    let pserve = site.start();
    let connect = || {
        let stream = TcpStream::connect(pserve.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    };
    // It has the one place, and does not make room; those who come after it wait.
    let mut first = connect();
    write!(first, "POST /reload/all HTTP/1.1\r\n").unwrap();
    let waiting: Vec<TcpStream> = (0..5)
        .map(|_| {
            let mut stream = connect();
            write!(stream, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            stream
        })
        .collect();
    let port = ports::free();
    site.ini(&one_place(port));
    write!(first, "Host: localhost\r\nX-Custom-Auth: k\r\n\r\n").unwrap();
    let mut rest = String::new();
    first.read_to_string(&mut rest).unwrap();
    assert_eq!(status(&rest), Some(200), "{rest}");
    for mut stream in waiting {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(status(&answer), Some(200), "{answer}");
    }
    Client::new(&format!("http://127.0.0.1:{port}")).get("/healthz").expect(200);
    e2e::pserve::eventually("the old port is closed", || TcpStream::connect(pserve.address()).is_err());
}
