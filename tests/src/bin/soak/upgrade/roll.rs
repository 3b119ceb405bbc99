//! One host after the other is stopped and starts again as the new release, under load.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};
use std::thread;
use std::time::Duration;

use e2e::http::{Answer, Client};
use e2e::pserve::{Pserve, Site};
use serde_json::{Value, json};

use super::Faults;

const HOSTS: usize = 3;
const CLIENTS: usize = 8;
/// Sessions that a client keeps to the end.
const KEPT: usize = 20;
/// Before, between and after the restarts.
const PAUSE: Duration = Duration::from_secs(2);

/// A host, as what shares requests out among several sees it: who asks it holds it, so that it is stopped when nobody does.
struct Host {
    client: Client,
    pserve: Pserve,
    _site: Site,
}

struct Load<'a> {
    hosts: &'a [RwLock<Option<Host>>],
    stop: &'a AtomicBool,
    requests: &'a AtomicUsize,
    faults: &'a Mutex<Faults>,
}

/// How many requests were sent, and what was wrong with their answers.
pub(super) fn run(config: &Value, old: &Path, new: &Path) -> (usize, Faults) {
    let start = |build: &Path| {
        let site = Site::with_artifacts(build);
        site.sessman(&config.to_string());
        let pserve = site.start();
        let client = pserve.client();
        client.get("/readyz").expect(200);
        Host { client, pserve, _site: site }
    };
    let hosts: Vec<_> = (0..HOSTS).map(|_| RwLock::new(Some(start(old)))).collect();
    let (stop, requests, faults) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::<Faults>::default());
    let kept = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let load = Load { hosts: &hosts, stop: &stop, requests: &requests, faults: &faults };
                scope.spawn(move || load.work(number))
            })
            .collect();
        thread::sleep(PAUSE);
        for host in &hosts {
            let leaving = host.write().expect("no client panicked").take().expect("it runs");
            assert!(leaving.pserve.stop().success(), "the old release stops");
            *host.write().expect("no client panicked") = Some(start(new));
            thread::sleep(PAUSE);
        }
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().expect("no client panicked")).collect::<Vec<_>>()
    });
    let mut faults = faults.into_inner().expect("no client panicked");
    for (id, data) in &kept {
        for host in &hosts {
            let host = host.read().expect("no client panicked");
            let client = &host.as_ref().expect("it runs").client;
            let read = client.post("/sessman/get", json!({ "token": id }));
            if read.status != 200 || read.json()["data"] != *data {
                faults.add("not kept", || format!("{}, not {data}", read.text));
            }
        }
    }
    (requests.into_inner(), faults)
}

impl Load<'_> {
    /// Sessions through their lives, each request at another host. What is kept: ids and data.
    fn work(&self, number: usize) -> Vec<(String, Value)> {
        let mut kept: Vec<(String, Value)> = Vec::new();
        let mut round = number;
        while !self.stop.load(Ordering::Relaxed) {
            round += 1;
            if kept.len() > KEPT {
                let (id, data) = kept.remove(0);
                if let Some(read) = self.ask(round, "get", &json!({ "token": id }), 200)
                    && read.json()["data"] != data
                {
                    self.fault("wrong data", || format!("{}, not {data}", read.text));
                }
                self.ask(round + 1, "end", &json!({ "token": id }), 200);
                self.ask(round + 2, "get", &json!({ "token": id }), 404);
            }
            kept.extend(self.begin(round));
        }
        kept
    }

    fn begin(&self, round: usize) -> Option<(String, Value)> {
        let begun = self.ask(round, "new", &json!({ "data": { "n": 0 } }), 201)?;
        let id = begun.member("session_id");
        self.ask(round + 1, "update", &json!({ "token": id, "data": { "n": round } }), 200)?;
        self.ask(round + 2, "update?mode=merge", &json!({ "token": id, "data": { "m": round } }), 200)?;
        let user = format!("user-{}", round % 50);
        let rotated = self.ask(round + 1, "rotate", &json!({ "token": id, "user_id": user }), 200)?;
        let id = rotated.member("session_id");
        let read = self.ask(round + 2, "get", &json!({ "token": id }), 200)?.json();
        let data = json!({ "n": round, "m": round });
        if read["data"] != data || read["version"] != 4 || read["user_id"] != user {
            self.fault("wrong data", || format!("{read}, not {data}"));
        }
        Some((id, data))
    }

    /// Asks a host that is there, which has this number or the next.
    fn ask(&self, number: usize, path: &str, body: &Value, status: u16) -> Option<Answer> {
        for number in number.. {
            // One that leaves is asked by nobody any more.
            let Ok(host) = self.hosts[number % HOSTS].try_read() else { continue };
            let Some(host) = host.as_ref() else { continue };
            self.requests.fetch_add(1, Ordering::Relaxed);
            match host.client.try_send("POST", &format!("/sessman/{path}"), &body.to_string()) {
                Ok(answer) if answer.status == status => return Some(answer),
                Ok(answer) => self.fault(&format!("{path}: {}", answer.status), || answer.text),
                Err(error) => self.fault(&format!("{path}: no answer"), || error.to_string()),
            }
            return None;
        }
        None
    }

    fn fault(&self, kind: &str, example: impl FnOnce() -> String) {
        self.faults.lock().expect("no client panicked").add(kind, example);
    }
}
