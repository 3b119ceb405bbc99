//! Server-sent events for administrators.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use e2e::on_every_store;
use e2e::pserve::{Pserve, Site};
use e2e::store::Store;
use serde_json::{Value, json};

on_every_store!(administrators_see_what_happens);

/// The lines of the stream, until it ends.
fn watch(pserve: &Pserve) -> Receiver<String> {
    let mut stream = TcpStream::connect(pserve.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(
        stream,
        "GET /sessman/events HTTP/1.1\r\nHost: localhost\r\nX-Admin-Key: the-key-of-the-boss\r\n\r\n"
    )
    .unwrap();
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    // The first comment: from here on everything is told.
    while next_line(&lines) != ":" {}
    lines
}

fn next_line(lines: &Receiver<String>) -> String {
    lines.recv_timeout(Duration::from_secs(60)).expect("a line")
}

/// The next event: its name and data.
fn next(lines: &Receiver<String>) -> (String, Value) {
    let asked = Instant::now();
    let name = loop {
        let line = next_line(lines);
        if let Some(name) = line.strip_prefix("event: ") {
            break name.to_owned();
        }
        // Comments go on for ever.
        assert!(asked.elapsed() < Duration::from_secs(60), "no event");
    };
    let data = next_line(lines);
    assert!(!data.contains("session_id"), "{data}");
    (name, serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap())
}

fn administrators_see_what_happens(store: Store, config: Value) {
    let site = Site::new();
    let mut config = config;
    config["admin_key"] = json!("the-key-of-the-boss");
    config["max_sessions_per_user"] = json!(1);
    site.sessman(&config.to_string());
    let pserve = site.start();
    let client = pserve.client();
    let admin = client.with("X-Admin-Key", "the-key-of-the-boss");
    client.get("/sessman/events").expect(401);
    let lines = watch(&pserve);
    let expect = |name: &str, handle: &str, user: Value| {
        let (found, data) = next(&lines);
        assert_eq!((found.as_str(), &data["handle"], &data["user_id"]), (name, &json!(handle), &user));
        assert!(data["at"].as_str().unwrap().ends_with('Z'));
    };

    let created = client.post("/sessman/new", json!({})).expect(201);
    let (id, handle) = (created.member("session_id"), created.member("handle"));
    expect("created", &handle, Value::Null);
    client.post("/sessman/update", json!({ "token": id, "data": { "a": 1 } })).expect(200);
    expect("updated", &handle, Value::Null);
    let rotated = client.post("/sessman/rotate", json!({ "token": id, "user": "ada" })).expect(200);
    expect("rotated", &handle, json!("ada"));
    let second = client.post("/sessman/new", json!({ "user": "ada" })).expect(201);
    let mut both = [next(&lines), next(&lines)].map(|(name, data)| (name, data["handle"].clone()));
    both.sort_by(|one, other| one.0.cmp(&other.0));
    let evicted = ("evicted".to_owned(), json!(handle));
    assert_eq!(both, [("created".to_owned(), json!(second.member("handle"))), evicted]);
    client.get(&format!("/sessman/get?token={}", rotated.member("session_id"))).expect(404);
    client.post("/sessman/end", json!({ "token": second.member("session_id") })).expect(200);
    expect("ended", &second.member("handle"), json!("ada"));

    // Past its time: told once, by a read that meets it or by the clean-up.
    let [met, left] = ["bob", "eve"].map(|user| {
        let short = client.post("/sessman/new", json!({ "user": user, "ttl_seconds": 1 })).expect(201);
        expect("created", &short.member("handle"), json!(user));
        short
    });
    thread::sleep(Duration::from_millis(1_100));
    for _ in 0..2 {
        client.get(&format!("/sessman/get?token={}", met.member("session_id"))).expect(404);
    }
    expect("expired", &met.member("handle"), json!("bob"));
    admin.post("/sessman/cleanup", json!({})).expect(200);
    if store.is_shared() {
        // What has just ended may live by the clock of another node, and stays.
        client.get(&format!("/sessman/get?token={}", left.member("session_id"))).expect(404);
    }
    expect("expired", &left.member("handle"), json!("eve"));
    admin.post("/sessman/clear", json!({ "confirm": "yes" })).expect(200);
    assert_eq!(next(&lines).0, "cleared");

    // The end is one for those who watch, too: the stream is whole.
    assert!(pserve.stop().success());
    let mut last = String::new();
    while let Ok(line) = lines.recv_timeout(Duration::from_secs(60)) {
        assert!(!line.starts_with("event"), "{line}");
        last = if line.is_empty() { last } else { line };
    }
    assert_eq!(last, "0", "the last chunk");
}
