//! A disk that stands still for 25 s under many clients.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use e2e::disk::{Fault, log_of};
use e2e::pserve::{Site, eventually};
use serde_json::json;

const CLIENTS: usize = 300;
const DATA: usize = 200_000;
const STILL: Duration = Duration::from_secs(25);

/// More than what waits may take, and what 300 requests of 200 KB take that are under way.
const MOST_MIB: u64 = 400;

pub(super) fn run() -> bool {
    println!(
        "\n| disk stands still for 25 s | 201 | 503 | others | sessions afterwards | memory before | at most | 20 s after |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    let (site, folder) = (Site::new(), tempfile::tempdir().expect("a folder"));
    let file = folder.path().join("sessions.db");
    site.write(
        "sessman.json",
        json!({ "path": file, "cache_bytes": 0, "admin_key": "k".repeat(32) }).to_string(),
    );
    site.ini("[plugin_parms]\nsessman=json=sessman.json");
    let pserve = site.start();
    let client = pserve.client();
    client.post("/sessman/new", json!({})).expect(201);
    let before = pserve.memory_kib() / 1024;
    let delay = format!("fdatasync:delay_enter={}:when=1", STILL.as_micros());
    let fault = Fault::begin(pserve.pid(), &[log_of(&file)], &[&delay], &folder.path().join("trace"));
    let Some(fault) = fault else {
        println!("SKIPPED: strace is missing or may not attach");
        return false;
    };
    let (stop, good, refused, others) =
        (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let most = AtomicU64::new(before);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let client = pserve.client();
                let body = json!({ "data": "x".repeat(DATA) }).to_string();
                while !stop.load(Ordering::Relaxed) {
                    match client.try_send("POST", "/sessman/new", &body).map(|answer| answer.status) {
                        Ok(201) => good.fetch_add(1, Ordering::Relaxed),
                        Ok(503) => refused.fetch_add(1, Ordering::Relaxed),
                        _ => others.fetch_add(1, Ordering::Relaxed),
                    };
                    thread::sleep(Duration::from_millis(50));
                }
            });
        }
        let begun = Instant::now();
        while begun.elapsed() < STILL - Duration::from_secs(2) {
            most.fetch_max(pserve.memory_kib() / 1024, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(200));
        }
        stop.store(true, Ordering::Relaxed);
    });
    eventually("it writes again", || client.post("/sessman/new", json!({})).status == 201);
    fault.end();
    let begun = Instant::now();
    let mut after = pserve.memory_kib() / 1024;
    while begun.elapsed() < Duration::from_secs(20) {
        after = after.min(pserve.memory_kib() / 1024);
        thread::sleep(Duration::from_millis(500));
    }
    let admin = client.with("x-admin-key", &"k".repeat(32));
    let stats = admin.get("/sessman/stats");
    let sessions = stats.json()["active"].as_u64().unwrap_or(u64::MAX);
    let (good, refused, others) = (good.into_inner(), refused.into_inner(), others.into_inner());
    let most = most.into_inner();
    println!(
        "| {CLIENTS} clients, {} KB each | {good} | {refused} | {others} | {sessions} | {before} MiB | {most} MiB | {after} MiB |",
        DATA / 1_000
    );
    // One commit was under way, with at most so many writes; two were of the clients here.
    others == 0
        && sessions <= good as u64 + 512 + 2
        && most < before + MOST_MIB
        && after < before + MOST_MIB / 4
}
