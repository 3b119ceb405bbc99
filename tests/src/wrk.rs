//! Load from `wrk`, which is quick enough to leave the machine to the host.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

const FILL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/wrk/fill.lua");
const LOAD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/wrk/load.lua");

/// What came of a load.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Answers a second.
    pub rate: f64,
    /// Requests that failed; those for sessions that have ended among them.
    pub failed: u64,
    /// The time that half of the answers took, at most.
    pub p50: Duration,
    /// The time that all but a hundredth of them took, at most.
    pub p99: Duration,
}

/// Begins so many sessions at `address` and writes their ids into `ids`, one a line.
///
/// # Panics
/// When there is no `wrk`, or a session is refused.
pub fn fill(address: &str, count: u32, ids: &Path) {
    let mut wrk = wrk(address, FILL, 64, Duration::from_secs(3_600));
    let output = wrk.env("IDS", ids).env("COUNT", count.to_string()).output().expect("wrk starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let written = std::fs::read_to_string(ids).expect("the ids").lines().count();
    assert_eq!(written, count as usize, "{}", String::from_utf8_lossy(&output.stderr));
}

/// Gets, or changes, sessions of `ids` on 16 connections.
///
/// # Panics
/// When there is no `wrk`.
pub fn load(address: &str, ids: &Path, write: bool, seed: u32, long: Duration) -> Measured {
    let mut wrk = wrk(address, LOAD, 16, long);
    wrk.env("IDS", ids).env("WRITE", if write { "yes" } else { "no" }).env("SEED", seed.to_string());
    let output = wrk.output().expect("wrk starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("RESULT ")).expect("wrk says what it saw");
    let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().expect("a number")).collect();
    let &[requests, micros, failed, p50, p99] = &numbers[..] else { panic!("{line}") };
    Measured {
        rate: requests as f64 * 1e6 / micros as f64,
        failed,
        p50: Duration::from_micros(p50),
        p99: Duration::from_micros(p99),
    }
}

fn wrk(address: &str, script: &str, connections: u32, long: Duration) -> Command {
    let mut wrk = Command::new("wrk");
    wrk.args(["--threads", "1", "--connections", &connections.to_string(), "--latency"]);
    wrk.args(["--duration", &format!("{}s", long.as_secs()), "--timeout", "30s", "--script", script]);
    wrk.arg(format!("http://{address}"));
    wrk
}
