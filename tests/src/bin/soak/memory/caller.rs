//! A back end with a valid key, which logs users in and reads, changes and ends their sessions all the time.

use std::fmt;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{ADMIN, KEY};

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(2);
/// Nobody waits longer.
const PATIENCE: Duration = Duration::from_secs(40);

/// By a Unix socket, where a host with TLS and one without are the same.
pub(super) struct Caller {
    socket: PathBuf,
}

/// What it saw.
pub(super) struct Seen {
    pub(super) count: usize,
    pub(super) failed: usize,
    pub(super) p99: Duration,
    p50: Duration,
    /// The first answer that was none.
    pub(super) first: Option<String>,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, failed, p50, p99, first } = self;
        write!(f, "{count} requests, {failed} refused, p50 {p50:.1?}, p99 {p99:.1?}")?;
        first.as_ref().map_or(Ok(()), |first| write!(f, ", the first: {first}"))
    }
}

/// A connection that is kept.
struct Line(BufReader<UnixStream>);

impl Line {
    fn send(&mut self, method: &str, path: &str, body: &str) -> Result<(u16, String), std::io::Error> {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nX-Admin-Key: {ADMIN}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        self.0.get_mut().write_all(request.as_bytes())?;
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end().split_once([' ', ':']) {
                None => break,
                Some(("HTTP/1.1", rest)) => status = rest[..3].parse().unwrap_or_default(),
                Some(("content-length", rest)) => length = rest.trim().parse().unwrap_or_default(),
                Some(_) => {}
            }
        }
        let mut text = vec![0; length];
        self.0.read_exact(&mut text)?;
        Ok((status, String::from_utf8_lossy(&text).into_owned()))
    }
}

impl Caller {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    fn line(&self) -> Result<Line, std::io::Error> {
        let stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Line(BufReader::new(stream)))
    }

    /// One request that has to be answered well.
    pub(super) fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.line().and_then(|mut line| line.send(method, path, &body.to_string()));
        let (status, text) = answer.expect("an answer");
        assert!(status < 300, "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    pub(super) fn metrics(&self) -> String {
        self.line()
            .and_then(|mut line| line.send("GET", "/metrics", ""))
            .map(|(_, text)| text)
            .unwrap_or_default()
    }

    /// Goes through the lives of sessions for so long.
    pub(super) fn call_for(&self, long: Duration) -> Seen {
        let (mut times, mut failed, mut first) = (Vec::new(), 0, None);
        let until = Instant::now() + long;
        let mut line = None;
        let mut step = |method: &str, path: &str, body: &Value| {
            thread::sleep(PAUSE);
            let body = if body.is_null() { String::new() } else { body.to_string() };
            let started = Instant::now();
            let mut ask = || {
                if line.is_none() {
                    line = Some(self.line()?);
                }
                line.as_mut().expect("it was just made").send(method, path, &body)
            };
            let answer = ask();
            times.push(started.elapsed());
            match answer {
                Ok((200..300, text)) => return serde_json::from_str(&text).unwrap_or_default(),
                Ok((status, text)) => first.get_or_insert(format!("{method} {path}: {status} {text}")),
                Err(error) => {
                    line = None;
                    first.get_or_insert(format!("{method} {path}: {error}"))
                }
            };
            failed += 1;
            Value::Null
        };
        while Instant::now() < until {
            let new = step("POST", "/sessman/new", &json!({ "user_id": "caller", "data": { "n": 1 } }));
            let id = new["session_id"].as_str().unwrap_or("none").to_owned();
            for _ in 0..6 {
                step("GET", &format!("/sessman/get?session_id={id}"), &Value::Null);
            }
            step("POST", "/sessman/update", &json!({ "session_id": id, "data": { "n": 2 } }));
            step("POST", "/sessman/end", &json!({ "session_id": id }));
        }
        times.sort_unstable();
        let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
        Seen { count: times.len(), failed, p50: at(50), p99: at(99), first }
    }
}
