//! Runs what the pages show: their commands in a shell, their configurations through `pserve check`.

use std::process::Command;

use serde_json::json;

use crate::pages::{Block, Page, read};
use crate::pserve::{Pserve, Site};
use crate::{artifacts, sessctl, tls};

/// What the commands of the pages know by these names.
const KEY: &str = "the-key-of-the-host";
const ADMIN_KEY: &str = "the-admin-key";

/// A running `pserve`, and beside it the files that a page speaks of.
pub struct Place {
    site: Site,
    pserve: Pserve,
    handle: String,
}

impl Place {
    /// As it ships.
    pub fn shipped() -> Self {
        let site = Site::new();
        // The port is the one thing that must differ here.
        site.write("pserve.ini", read("config/pserve.ini").replace("port = 6123", "port = 0"));
        site.write("sessman.json", read("config/sessman.json"));
        Self::begin(site, false)
    }

    /// With a key, and one for administrators; the id of a live session opens what a visitor may do.
    pub fn with_keys() -> Self {
        let site = Site::new();
        let config = json!({ "admin_key": ADMIN_KEY, "client_access": "read" });
        site.write("sessman.json", config.to_string());
        site.ini(&format!("[auth]\napikey={KEY}\n[plugin_parms]\nsessman=json=sessman.json"));
        Self::begin(site, true)
    }

    /// With sessions of `ada` and `eve`, and configurations of two other stores.
    pub fn with_stores() -> Self {
        let site = Site::new();
        site.sessman(&json!({ "admin_key": ADMIN_KEY }).to_string());
        site.write("new.json", r#"{ "path": "new.db" }"#);
        site.write("other.json", r#"{ "path": "other.db" }"#);
        Self::begin(site, false)
    }

    fn begin(site: Site, has_key: bool) -> Self {
        let pserve = site.start();
        let client = pserve.client();
        let client = if has_key { client.with("X-Custom-Auth", KEY) } else { client };
        let handle = client.post("/sessman/new", json!({ "user_id": "eve" })).expect(201).member("handle");
        for _ in 0..3 {
            client.post("/sessman/new", json!({ "user_id": "ada" })).expect(201);
        }
        Self { site, pserve, handle }
    }

    /// What Prometheus would read.
    pub fn metrics(&self) -> String {
        self.pserve.client().with("X-Custom-Auth", KEY).get("/metrics").expect(200).text
    }

    /// Runs all blocks of a page that are commands, in one shell; returns what they print, and how many were run.
    ///
    /// # Panics
    /// When a command fails, or `curl` is answered with an error.
    pub fn run(&self, page: &Page) -> (String, usize) {
        let blocks: Vec<Block<'_>> = page.blocks();
        let run: Vec<&str> = blocks
            .iter()
            .filter(|block| block.language == "sh" && block.not_run.is_none())
            .map(|block| block.text.as_str())
            .collect();
        // Each answer on a line of its own; an error in a pipe is an error.
        let curl = "curl() { command curl -sS --fail-with-body --max-time 60 \"$@\" && echo; }";
        let commands = run.concat().replace("localhost:6123", self.pserve.address());
        // Where `cargo xtask run` serves from is the folder of the site here, and where it builds is on PATH.
        let commands = commands.replace("target/run/", "").replace("target/release/", "");
        let script = format!("set -euo pipefail\n{curl}\n{commands}");
        let path = format!("{}:{}", artifacts().display(), std::env::var("PATH").expect("PATH"));
        let output = Command::new("bash")
            .args(["-c", &script])
            .current_dir(self.site.path(""))
            .env("PATH", path)
            .env("PSERVE_NETWORK_PORT", sessctl::port(&self.pserve))
            .envs([("KEY", KEY), ("ADMIN_KEY", ADMIN_KEY), ("HANDLE", &self.handle)])
            .output()
            .expect("bash runs");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{}\n{commands}\n{out}\n{err}", page.path);
        (out.into_owned(), run.len())
    }
}

/// Whether `pserve check` takes a block: a `pserve.ini`, or (`json`) a `sessman.json`.
///
/// # Errors
/// What it says.
///
/// # Panics
/// When it cannot be started.
pub fn check(block: &Block<'_>) -> Result<(), String> {
    let site = Site::new();
    // Files with keys are the site's own.
    let text = block.text.replace("/etc/pserve/keys", &site.path("").display().to_string());
    for name in ["current", "new"] {
        site.write(name, format!("{KEY}\n"));
    }
    site.write("metrics", format!("of-the-metrics-{KEY}\n"));
    match block.language {
        "json" => site.sessman(&text),
        _ => site.ini(&text),
    }
    site.write("sessman.mongodb.json", read("config/sessman.mongodb.json"));
    if !site.path("sessman.json").exists() {
        site.write("sessman.json", "{}");
    }
    if block.text.contains("certfile") {
        tls::make_pair(&site, "pair");
        let rename =
            |from: &str, to: &str| std::fs::rename(site.path(from), site.path(to)).expect("it is renamed");
        rename("pair.pem", "fullchain.pem");
        rename("pair.key", "key.pem");
    }
    let output = Command::new(artifacts().join("pserve"))
        .args(["check", "-i"])
        .arg(site.path("pserve.ini"))
        // What the shipped files and the pages take from the environment.
        .envs([
            ("MONGODB_PASSWORD", "p:w/@%"),
            ("SESSMAN_ADMIN_KEY", ADMIN_KEY),
            ("API_KEY", KEY),
            ("NEW_API_KEY", KEY),
        ])
        .envs(["SESSMAN_KEY", "NEW_SESSMAN_KEY"].map(|name| (name, "0a".repeat(32))))
        .output()
        .expect("pserve runs");
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()),
    }
}
