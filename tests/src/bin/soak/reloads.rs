//! 200 reloads with changed content under constant load, on SQLite and on MongoDB.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use e2e::http::Client;
use e2e::pserve::Site;
use e2e::store::Store;
use serde_json::{Value, json};

const RELOADS: usize = 200;
/// Clients that never pause.
const CLIENTS: usize = 8;
/// Reloads after which memory is compared with that at the end: what is needed once is there by then.
const WARM: usize = 20;

pub(crate) fn run() -> ExitCode {
    let mut is_good = true;
    for store in [Store::Sqlite, Store::MongoDb] {
        match store.config("reloads") {
            Some(config) => is_good &= on(store, &config),
            None => {
                println!("{store:?}: SKIPPED, there is none");
                is_good = false;
            }
        }
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn on(store: Store, config: &Value) -> bool {
    let site = Site::new();
    let write = |cookie: &str| {
        let mut config = config.clone();
        config["cookie"] = json!({ "name": cookie });
        site.write("sessman.json", config.to_string());
    };
    write("c0");
    site.ini("[auth]\napikey=k\n[plugin_parms]\nsessman=json=sessman.json");
    let pserve = site.start();
    let client = pserve.client().with("X-Custom-Auth", "k");
    let (is_done, requests) = (AtomicBool::new(false), AtomicUsize::new(0));
    let failures: Mutex<Vec<String>> = Mutex::default();
    let (mut in_effect, mut warm, started) = (0, 0, Instant::now());
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            // A client of its own each: a connection that stays open over all reloads.
            let client = pserve.client().with("X-Custom-Auth", "k");
            scope.spawn(|| {
                let client = client;
                load(&client, &is_done, &requests, &failures);
            });
        }
        for number in 1..=RELOADS {
            let name = format!("c{number}");
            write(&name);
            let path = if number % 2 == 0 { "/reload/sessman" } else { "/reload/all" };
            let reload = client.post(path, json!({}));
            let created = client.post("/sessman/new", json!({}));
            let cookie = created.header("set-cookie").unwrap_or_default();
            in_effect += usize::from(reload.status == 200 && cookie.starts_with(&format!("{name}=")));
            if number == WARM {
                warm = pserve.memory_kib();
            }
        }
        is_done.store(true, Ordering::Relaxed);
    });
    let failures = failures.into_inner().expect("no client panicked");
    let growth = pserve.memory_kib().saturating_sub(warm) / (RELOADS - WARM) as u64;
    println!(
        "{store:?}: {RELOADS} reloads in {:.0} s, {in_effect} in effect; {} requests meanwhile, {} failed; \
         {growth} KiB a reload",
        started.elapsed().as_secs_f64(),
        requests.into_inner(),
        failures.len()
    );
    for failure in failures.iter().take(3) {
        println!("  {failure}");
    }
    in_effect == RELOADS && failures.is_empty()
}

/// Creates a session, changes and reads it, ends it, over and over. Whatever is not as it must be is a failure.
fn load(client: &Client, is_done: &AtomicBool, requests: &AtomicUsize, failures: &Mutex<Vec<String>>) {
    let send = |method: &str, path: &str, body: &str, expected: u16| {
        requests.fetch_add(1, Ordering::Relaxed);
        match client.try_send(method, path, body) {
            Ok(answer) if answer.status == expected => Some(answer),
            other => {
                failures.lock().expect("no client panicked").push(format!("{method} {path}: {other:?}"));
                None
            }
        }
    };
    while !is_done.load(Ordering::Relaxed) {
        let Some(created) = send("POST", "/sessman/new", r#"{"data":{"n":0}}"#, 201) else { continue };
        let id = created.member("session_id");
        for n in 1..=3 {
            let update = json!({ "token": id, "data": { "n": n } }).to_string();
            send("POST", "/sessman/update", &update, 200);
            let read = send("GET", &format!("/sessman/get?token={id}"), "", 200);
            if read.is_some_and(|read| read.json()["data"]["n"] != n) {
                failures.lock().expect("no client panicked").push("an update was lost".to_owned());
            }
        }
        send("POST", "/sessman/end", &json!({ "token": id }).to_string(), 200);
    }
}
