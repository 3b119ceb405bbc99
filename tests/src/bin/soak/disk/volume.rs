//! A small volume that is full, emptied, and full again.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::disk::integrity;
use e2e::http::Client;
use e2e::pserve::{Pserve, Site, eventually};
use serde_json::json;

/// Sessions that a volume takes, about.
const SESSIONS: usize = 900;

/// A file system in memory, as long as this lives.
struct Volume(tempfile::TempDir);

impl Volume {
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o"]).arg(format!("size={size}")).arg("tmpfs").arg(folder.path());
        let is_mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        is_mounted.then_some(Self(folder))
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// What clients saw on one volume.
#[derive(Debug, Default)]
struct Seen {
    /// Sessions until the disk was full, each time.
    filled: Vec<usize>,
    ended: usize,
    not_ended: usize,
    lost: usize,
    said: String,
}

pub(super) fn run() -> bool {
    println!(
        "\n| volume | filled with | ended on the full disk | refused | lost | said of a new session | after all expired | file |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    [8, 24, 60, 160].into_iter().all(|mib: usize| {
        let size = format!("{mib}m");
        let Some(volume) = Volume::mount(&size) else {
            println!("SKIPPED: mounting a tmpfs is not permitted on this machine (not root)");
            return false;
        };
        one(&size, &"x".repeat((mib << 20) / SESSIONS), volume.0.path())
    })
}

fn one(size: &str, text: &str, folder: &Path) -> bool {
    let file = folder.join("sessions.db");
    let site = Site::new();
    site.sessman(&json!({ "path": file, "cleanup_interval": 1 }).to_string());
    let mut pserve = site.start();
    let mut seen = Seen::default();
    let mut ids = Vec::new();
    for how in ["run on", "kill -9", "stop"] {
        fill(&pserve.client(), text, &mut ids, &mut seen);
        pserve = restart(&site, pserve, how);
        let client = pserve.client();
        let is_there = |id: &String| client.post("/sessman/get", json!({ "token": id })).status == 200;
        seen.lost += ids.iter().filter(|id| !is_there(id)).count();
        // A change that needs no room works.
        if client.post("/sessman/touch", json!({ "token": ids[0] })).status != 200 {
            seen.not_ended += 1;
        }
        for id in ids.drain(..) {
            let ended = client.post("/sessman/end", json!({ "token": id })).status == 200;
            seen.ended += usize::from(ended);
            seen.not_ended += usize::from(!ended);
        }
    }
    // All of them end by themselves, and clean-up makes room.
    let client = pserve.client();
    while client.post("/sessman/new", json!({ "ttl_seconds": 5, "data": text })).status == 201 {}
    std::thread::sleep(Duration::from_secs(5));
    let mut after = 0;
    eventually("room after all have expired", || {
        after = client.post("/sessman/new", json!({ "data": text })).status;
        after == 201
    });
    assert!(pserve.stop().success());
    let whole = integrity(&file);
    let Seen { filled, ended, not_ended, lost, said } = &seen;
    println!("| {size} | {filled:?} | {ended} | {not_ended} | {lost} | {said} | {after} | {whole} |");
    *not_ended == 0 && *lost == 0 && said.contains("full") && whole == "ok"
}

fn fill(client: &Client, text: &str, ids: &mut Vec<String>, seen: &mut Seen) {
    loop {
        let answer = client.post("/sessman/new", json!({ "data": text }));
        if answer.status != 201 {
            seen.said = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
            seen.filled.push(ids.len());
            return;
        }
        ids.push(answer.member("session_id"));
    }
}

fn restart(site: &Site, pserve: Pserve, how: &str) -> Pserve {
    match how {
        "kill -9" => pserve.kill_9(),
        "stop" => assert!(pserve.stop().success()),
        _ => return pserve,
    }
    site.start()
}
