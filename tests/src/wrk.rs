//! Load from `wrk`, which is quick enough to leave the machine to the host.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const FILL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/wrk/fill.lua");
const LOAD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/wrk/load.lua");

/// What came of a load.
#[derive(Debug, Clone, Copy, PartialEq)]
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
    fill_with(address, count, "", ids);
}

/// The same, each with `more` members, such as `,"labels":{"a":"{n%7}"}`, where the number of the session modulo 7 is put
/// in.
///
/// # Panics
/// As for [`fill`].
pub fn fill_with(address: &str, count: u32, more: &str, ids: &Path) {
    let mut wrk = wrk(address, FILL, 64, Duration::from_secs(3_600));
    let output =
        wrk.env("IDS", ids).env("COUNT", count.to_string()).env("MORE", more).output().expect("wrk starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let written = std::fs::read_to_string(ids).expect("the ids").lines().count();
    assert_eq!(written, count as usize, "{}", String::from_utf8_lossy(&output.stderr));
}

/// Digits of the number that makes each write another one.
pub const NUMBER: &str = "0000000000";

/// The bytes of a request around a session's id and around the number.
#[derive(Debug, Clone)]
pub struct Requests {
    /// Before the id; `None` where there is no id.
    before: Option<String>,
    between: String,
    /// After the number; `None` where there is no number.
    after: Option<String>,
}

impl Requests {
    /// `text` is a whole request, with `{id}` where an id goes and, for writes, [`NUMBER`].
    pub fn new(text: &str) -> Self {
        let (before, rest) = match text.split_once("{id}") {
            Some((before, rest)) => (Some(before.to_owned()), rest),
            None => (None, text),
        };
        let (between, after) = match rest.split_once(NUMBER) {
            Some((between, after)) => (between, Some(after.to_owned())),
            None => (rest, None),
        };
        Self { before, between: between.to_owned(), after }
    }

    fn to_lua(&self) -> String {
        let optional = |part: &Option<String>| part.as_ref().map_or("nil".to_owned(), |part| quoted(part));
        let (before, between, after) = (optional(&self.before), quoted(&self.between), optional(&self.after));
        format!("return {{ before = {before}, between = {between}, after = {after} }}")
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for byte in text.bytes() {
        // Lua's decimal escapes; writing to a string does not fail.
        let _ = write!(quoted, "\\{byte:03}");
    }
    quoted.push('"');
    quoted
}

/// Sends requests about sessions of `ids`, which has one a line, all of one length.
///
/// # Panics
/// When there is no `wrk`.
pub fn load(address: &str, requests: &Requests, ids: &Path, connections: u32, long: Duration) -> Measured {
    let described = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(described.path(), requests.to_lua()).expect("it takes the requests");
    let mut wrk = wrk(address, LOAD, connections, long);
    let output =
        wrk.env("LOAD_IDS", ids).env("LOAD_REQUESTS", described.path()).output().expect("wrk starts");
    let text = String::from_utf8_lossy(&output.stdout);
    measured(&text).unwrap_or_else(|| panic!("wrk says: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn measured(said: &str) -> Option<Measured> {
    let line = said.lines().find_map(|line| line.strip_prefix("RESULT "))?;
    let numbers: Vec<u64> = line.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
    let &[requests, micros, failed, p50, p99] = &numbers[..] else { return None };
    Some(Measured {
        rate: requests as f64 * 1e6 / micros as f64,
        failed,
        p50: Duration::from_micros(p50),
        p99: Duration::from_micros(p99),
    })
}

fn wrk(address: &str, script: &str, connections: u32, long: Duration) -> Command {
    let mut wrk = Command::new("wrk");
    wrk.args(["--threads", "1", "--connections", &connections.to_string(), "--latency"]);
    wrk.args(["--duration", &format!("{}s", long.as_secs().max(1)), "--timeout", "30s", "--script", script]);
    wrk.arg(format!("http://{address}"));
    wrk
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_says_is_understood() {
        let seen = measured("Running\nRESULT 1000 500000 7 450 2500\n").unwrap();
        let times = (Duration::from_micros(450), Duration::from_micros(2_500));
        assert_eq!(seen, Measured { rate: 2_000.0, failed: 7, p50: times.0, p99: times.1 });
        assert_eq!(measured("unable to connect"), None);
    }

    #[test]
    fn requests_are_cut_at_the_id_and_the_number() {
        let write = Requests::new(&format!("POST /u\r\nX: {{id}}\r\n\r\n{{\"n\":\"{NUMBER}\"}}"));
        assert_eq!(write.before.as_deref(), Some("POST /u\r\nX: "));
        assert_eq!((write.between.as_str(), write.after.as_deref()), ("\r\n\r\n{\"n\":\"", Some("\"}")));
        assert_eq!(Requests::new("GET /{id} HTTP/1.1").after, None);
        assert_eq!(Requests::new("POST /new").before, None);
        assert_eq!(quoted("a\""), "\"\\097\\034\"");
    }
}
