//! An answered write on SQLite is on disk: it survives `kill -9`, and was synced before the answer.

use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use e2e::http::Client;
use e2e::pserve::{Site, eventually};
use serde_json::{Value, json};

/// What a writer was last told of its session.
struct Answered {
    id: String,
    /// The answer of the last write that was answered.
    acknowledged: Value,
    /// A write that was sent and not answered: it may or may not be there.
    pending: Option<Value>,
}

#[test]
fn no_answered_write_is_lost_by_kill_9() {
    const ROUNDS: u64 = 10;
    const WRITERS: usize = 8;
    let site = Site::new();
    site.sessman("{}");
    let mut known: Vec<Answered> = Vec::new();
    let mut pserve = site.start();
    for round in 0..ROUNDS {
        let client = pserve.client();
        let stop = AtomicBool::new(false);
        let written = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..WRITERS {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let Some(session) = write_one_session(&client) else { break };
                        let over = session.pending.is_some();
                        written.lock().unwrap().push(session);
                        if over {
                            break;
                        }
                    }
                });
            }
            thread::sleep(Duration::from_millis(300 + 40 * round));
            eventually("writes to kill it under", || written.lock().unwrap().len() > WRITERS);
            pserve.kill_9();
            stop.store(true, Ordering::Relaxed);
        });
        let written = written.into_inner().unwrap();
        known.extend(written);
        pserve = site.start();
        let client = pserve.client();
        for session in &known {
            let read = client.get(&format!("/sessman/get?token={}", session.id)).expect(200).json();
            let data = &read["data"];
            let is_known = *data == session.acknowledged || session.pending.as_ref() == Some(data);
            assert!(is_known, "round {round}: acknowledged {}, found {data}", session.acknowledged);
        }
    }
    eprintln!("{ROUNDS} kills, {} sessions, every answered write was there", known.len());
}

/// Creates a session and updates it three times; `None` when not even the creation was answered.
fn write_one_session(client: &Client) -> Option<Answered> {
    let created = client.try_send("POST", "/sessman/new", r#"{"user":"w","data":0}"#).ok()?;
    assert_eq!(created.status, 201, "{created:?}");
    let mut session = Answered { id: created.member("session_id"), acknowledged: json!(0), pending: None };
    for step in 1..=3 {
        let body = json!({ "token": session.id, "data": step }).to_string();
        match client.try_send("POST", "/sessman/update", &body) {
            Ok(answer) => {
                assert_eq!(answer.status, 200, "{answer:?}");
                session.acknowledged = json!(step);
            }
            Err(_) => {
                session.pending = Some(json!(step));
                break;
            }
        }
    }
    Some(session)
}

#[test]
fn a_write_is_synced_before_it_is_answered() {
    let site = Site::new();
    site.sessman("{}");
    let pserve = site.start();
    let client = pserve.client();
    let id = client.post("/sessman/new", json!({})).expect(201).member("session_id");
    let trace = site.path("trace");
    let spawned = Command::new("strace")
        .args(["-f", "-q", "-e", "trace=fdatasync,fsync,write,writev,sendto,sendmsg", "-s", "64", "-o"])
        .arg(&trace)
        .args(["-p", &pserve.pid().to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut strace = match spawned {
        Ok(strace) => strace,
        Err(error) => {
            return e2e::skip("a_write_is_synced_before_it_is_answered", &format!("no strace: {error}"));
        }
    };
    // It is attached once it sees an answer go out.
    let read = || std::fs::read_to_string(&trace).unwrap_or_default();
    eventually("strace sees the process", || {
        client.get("/healthz").expect(200);
        read().contains("HTTP/1.1 200") || strace.try_wait().is_ok_and(|ended| ended.is_some())
    });
    if strace.try_wait().is_ok_and(|ended| ended.is_some()) {
        return e2e::skip("a_write_is_synced_before_it_is_answered", "strace may not attach on this machine");
    }
    let writes: [(&str, Value, &str); 4] = [
        ("/sessman/new", json!({}), "HTTP/1.1 201"),
        ("/sessman/update", json!({ "token": id, "data": { "n": 1 } }), "HTTP/1.1 200"),
        ("/sessman/touch", json!({ "token": id }), "HTTP/1.1 200"),
        ("/sessman/end", json!({ "token": id }), "HTTP/1.1 200"),
    ];
    for (path, body, status) in writes {
        let before = read().len();
        client.post(path, body);
        eventually("the answer in the trace", || read()[before..].contains(status));
        let traced = read()[before..].to_owned();
        let answer = traced.find(status).unwrap();
        // strace cuts a call in two where another thread's comes between.
        let synced = |line: &&str| line.contains("fdatasync(") || line.contains("fdatasync resumed");
        let sync = traced[..answer].lines().filter(synced).any(|line| line.ends_with("= 0"));
        assert!(sync, "{path}: no finished sync before the answer:\n{traced}");
    }
    drop(pserve);
    strace.wait().expect("strace ends with the process");
}
