//! The load: `wrk` on a core of its own, and what it says.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::pin::Cores;

/// The bytes of a request around the session's id, and around the number that makes each write another one.
#[derive(Debug, Clone)]
pub(crate) struct Requests {
    /// Before the id; `None` where there is no id.
    pub(crate) before: Option<String>,
    pub(crate) between: String,
    /// After the number; `None` where there is no number.
    pub(crate) after: Option<String>,
}

/// Digits of the number.
pub(crate) const NUMBER: &str = "0000000000";

impl Requests {
    /// `text` has `{id}` where an id goes and, for writes, [`NUMBER`].
    pub(crate) fn new(text: &str) -> Self {
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
        // Lua's decimal escapes.
        quoted.push_str(&format!("\\{byte:03}"));
    }
    quoted.push('"');
    quoted
}

/// How hard the load is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pressure {
    pub(crate) connections: u32,
    pub(crate) duration: Duration,
    /// Where it runs.
    pub(crate) cores: Cores,
}

/// What `wrk` saw.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    /// Requests a second.
    pub(crate) rate: f64,
    /// Latency in microseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Answers that are no 2xx, and connections that failed.
    pub(crate) errors: u64,
}

/// Runs `wrk` at `address` with the sessions that `ids` lists, one a line.
pub(crate) fn run(address: &str, requests: &Requests, ids: &Path, pressure: Pressure) -> Result<Seen> {
    let script = tempfile::NamedTempFile::new()?;
    fs::write(script.path(), requests.to_lua())?;
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "--latency", "-c"]).arg(pressure.connections.to_string());
    wrk.arg(format!("-d{}s", pressure.duration.as_secs().max(1))).arg("-s");
    wrk.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/load.lua")).arg(format!("http://{address}/"));
    wrk.env("BENCH_REQUESTS", script.path()).env("BENCH_IDS", ids).stdin(Stdio::null());
    let output = pressure.cores.during(|| wrk.output())?.context("wrk starts")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "wrk failed: {said}{}", String::from_utf8_lossy(&output.stderr));
    parse(&said).with_context(|| format!("what wrk said: {said}"))
}

fn parse(said: &str) -> Result<Seen> {
    let after = |key: &str| said.lines().find_map(|line| line.trim().strip_prefix(key)).map(str::trim);
    let rate = after("Requests/sec:").context("no rate")?.parse()?;
    let (p50, p99) = (after("50%").context("no median")?, after("99%").context("no percentile")?);
    let refused = after("Non-2xx or 3xx responses:").map_or(Ok(0), str::parse)?;
    let failed: u64 = after("Socket errors:")
        .map_or(0, |errors| errors.split([' ', ',']).filter_map(|word| word.parse::<u64>().ok()).sum());
    Ok(Seen { rate, p50: micros(p50)?, p99: micros(p99)?, errors: refused + failed })
}

fn micros(text: &str) -> Result<f64> {
    for (unit, factor) in [("us", 1.0), ("ms", 1e3), ("s", 1e6)] {
        if let Some(number) = text.strip_suffix(unit) {
            return Ok(number.parse::<f64>()? * factor);
        }
    }
    bail!("no time: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_says_is_understood() {
        let said = "  Latency Distribution\n     50%  450.00us\n     75%    1.00ms\n     90%    1.2ms\n     99%    2.50ms\n  \
                    1000 requests in 1.00s, 1MB read\n  Socket errors: connect 1, read 2, write 0, timeout 3\n  \
                    Non-2xx or 3xx responses: 7\nRequests/sec:  12345.60\nTransfer/sec:      1MB\n";
        let seen = parse(said).unwrap();
        assert_eq!((seen.rate, seen.p50, seen.p99, seen.errors), (12_345.6, 450.0, 2_500.0, 13));
        assert!(parse("unable to connect").is_err());
    }

    #[test]
    fn requests_are_cut_at_the_id_and_the_number() {
        let write = Requests::new(&format!("POST /u\r\nX: {{id}}\r\n\r\n{{\"n\":\"{NUMBER}\"}}"));
        assert_eq!(write.before.as_deref(), Some("POST /u\r\nX: "));
        assert_eq!(write.between, "\r\n\r\n{\"n\":\"");
        assert_eq!(write.after.as_deref(), Some("\"}"));
        assert_eq!(Requests::new("GET /{id} HTTP/1.1").after, None);
        assert_eq!(Requests::new("POST /new").before, None);
    }
}
