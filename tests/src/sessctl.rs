//! The real `sessctl`, on the configuration of a site.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::artifacts;
use crate::http::Client;
use crate::pserve::{Pserve, Site};

/// What became of a `sessctl`.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed on standard output.
    pub out: String,
    /// And on standard error.
    pub err: String,
    /// The most memory that it had, in KiB, as far as it was seen.
    pub peak_kib: u64,
}

impl Ran {
    fn of(output: &Output, peak_kib: u64) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr), peak_kib }
    }

    /// Checks the exit code.
    ///
    /// # Panics
    /// When it is another.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// Checks that standard error says `text`.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.err.contains(text), "{text:?} is not said: {self:?}");
        self
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// `sessctl` with the `pserve.ini` of the site, about to be started.
pub fn command(site: &Site, arguments: &[&str]) -> Command {
    let mut command = Command::new(artifacts().join("sessctl"));
    command.args(arguments).current_dir(site.path("")).stdin(Stdio::null());
    command.env_remove("MONGODB_URI").env_remove("REDIS_URL");
    command
}

/// Runs `sessctl` with the `pserve.ini` of the site.
pub fn run(site: &Site, arguments: &[&str]) -> Ran {
    finish(command(site, arguments))
}

/// As [`run`], beside a running `pserve`, whose port the file of a site does not say.
pub fn beside(site: &Site, pserve: &Pserve, arguments: &[&str]) -> Ran {
    let mut command = command(site, arguments);
    command.env("PSERVE_NETWORK_PORT", port(pserve));
    finish(command)
}

/// Where it listens.
pub fn port(pserve: &Pserve) -> &str {
    pserve.address().rsplit(':').next().unwrap_or_default()
}

/// Runs it to its end.
///
/// # Panics
/// When it cannot be started.
pub fn finish(mut command: Command) -> Ran {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.expect("sessctl starts (run `cargo xtask test`)");
    let status = format!("/proc/{}/status", child.id());
    let waiting = thread::spawn(move || child.wait_with_output());
    let mut peak_kib = 0;
    while !waiting.is_finished() {
        let status = fs::read_to_string(&status).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        peak_kib = peak_kib.max(kib.unwrap_or(0));
        thread::sleep(Duration::from_millis(5));
    }
    let output = waiting.join().expect("it is waited for").expect("it ends");
    Ran::of(&output, peak_kib)
}

/// Begins so many sessions, several at a time: of users who have three each, with data of many kinds. Their ids.
///
/// # Panics
/// When one does not begin.
pub fn fill(client: &Client, count: usize) -> Vec<String> {
    const THREADS: usize = 8;
    let shares: Vec<_> = (0..THREADS)
        .map(|thread| {
            let client = client.clone();
            thread::spawn(move || {
                let numbers = (thread..count).step_by(THREADS);
                numbers.map(|n| begin(&client, n)).collect::<Vec<String>>()
            })
        })
        .collect();
    shares.into_iter().flat_map(|share| share.join().expect("they begin")).collect()
}

fn begin(client: &Client, n: usize) -> String {
    let mut session = json!({
        "user_id": format!("user-{}", n / 3),
        "data": { "n": n, "float": n as f64 / 8.0, "text": "ä\u{1f600}\"\\\u{0}", "list": [null, true, -1], "": {} },
        "metadata": { "device": format!("device {n}") },
    });
    if n.is_multiple_of(10) {
        session.as_object_mut().expect("an object").remove("user_id");
    }
    client.post("/sessman/new", session).expect(201).member("session_id")
}
