//! Faults of a disk, injected with strace into the calls of a process, and what must hold whatever a disk does: each answered
//! write is there after `kill -9` and a start.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::http::Client;
use crate::pserve::send_signal;

/// A fault that lasts until it is [ended](Fault::end), or its process is gone.
pub struct Fault {
    strace: Child,
    trace: PathBuf,
}

impl Fault {
    /// Injects into the calls that process `pid` makes on `files`; `injections` as strace has them
    /// (`fdatasync:error=EIO`). `None` where strace is missing or may not attach.
    ///
    /// # Panics
    /// When its output cannot be read.
    pub fn begin(pid: u32, files: &[PathBuf], injections: &[&str], trace: &Path) -> Option<Self> {
        let mut command = Command::new("strace");
        command.args(["-f", "-e", "trace=fdatasync,fsync,pwrite64,ftruncate,fallocate", "-o"]).arg(trace);
        for file in files {
            command.arg("-P").arg(file);
        }
        for injection in injections {
            command.arg("-e").arg(format!("inject={injection}"));
        }
        command.args(["-p", &pid.to_string()]);
        let mut strace = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().ok()?;
        let mut said = BufReader::new(strace.stderr.take().expect("it is piped"));
        let mut line = String::new();
        // It says which paths it resolves, and then that it is attached.
        while !line.contains("attached") {
            line.clear();
            if said.read_line(&mut line).expect("what strace says is text") == 0 {
                let _ = strace.wait();
                return None;
            }
        }
        thread::spawn(move || said.lines().map_while(Result::ok).for_each(drop));
        Some(Self { strace, trace: trace.to_owned() })
    }

    /// Calls that did not go as the disk would have it.
    pub fn injected(&self) -> usize {
        let trace = fs::read_to_string(&self.trace).unwrap_or_default();
        trace.lines().filter(|line| line.contains("(INJECTED)") || line.contains("(DELAYED)")).count()
    }

    /// The disk is well again; how many calls had not been.
    pub fn end(mut self) -> usize {
        self.stop();
        self.injected()
    }

    fn stop(&mut self) {
        if matches!(self.strace.try_wait(), Ok(None)) {
            send_signal(&self.strace, Signal::INT);
            let _ = self.strace.wait();
        }
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A session as the client knows it that has it to itself.
#[derive(Debug)]
struct Known {
    id: String,
    /// What may be its data now; `None` for a session that has ended. Several, where the fate of a write is unknown.
    may_be: Vec<Option<u64>>,
}

/// What clients were answered, to be compared with what is there afterwards.
#[derive(Debug, Default)]
pub struct Books {
    sessions: Vec<Known>,
    /// Writes answered 2xx.
    pub answered: usize,
    /// Writes answered 503.
    pub refused: usize,
    /// Writes without an answer.
    pub unanswered: usize,
    /// Answers that must not be, how often each came.
    pub others: BTreeMap<String, usize>,
}

/// What became of what was answered.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Sessions that were looked at.
    pub sessions: usize,
    /// Those that are not as they were last answered to be.
    pub lost: usize,
    /// Those that had ended and live.
    pub alive: usize,
}

impl Audit {
    /// Whether everything is as it was answered.
    pub fn is_good(&self) -> bool {
        self.lost == 0 && self.alive == 0
    }
}

impl Books {
    /// One write after the other, until it is to stop: new sessions, changes, ends, with so many bytes of data.
    ///
    /// # Panics
    /// When an answer is not what the routes promise.
    pub fn write(client: &Client, bytes: usize, stop: &AtomicBool) -> Self {
        let mut books = Self::default();
        let mut number = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            books.write_one(client, number, bytes);
        }
        books
    }

    fn write_one(&mut self, client: &Client, number: u64, bytes: usize) {
        let data = json!({ "n": number, "text": "x".repeat(bytes) });
        let place = (number as usize * 7) % self.sessions.len().max(1);
        match number % 8 {
            0..4 if number > 8 => {
                let (id, value) = (&self.sessions[place].id, Some(number));
                let body = json!({ "token": id, "data": data });
                let is_done = ask(self, client, "/sessman/update", &body).is_some();
                self.note(place, value, is_done);
            }
            4 if number > 8 => {
                let body = json!({ "token": self.sessions[place].id });
                let is_done = ask(self, client, "/sessman/end", &body).is_some();
                self.note(place, None, is_done);
            }
            _ => {
                if let Some(id) = ask(self, client, "/sessman/new", &json!({ "data": data })) {
                    self.sessions.push(Known { id, may_be: vec![Some(number)] });
                }
            }
        }
    }

    fn note(&mut self, place: usize, value: Option<u64>, is_done: bool) {
        let session = &mut self.sessions[place];
        let has_ended = session.may_be == [None];
        match is_done {
            true if has_ended => {
                *self.others.entry("a write to a session that had ended was answered".into()).or_default() +=
                    1;
            }
            true => session.may_be = vec![value],
            // Nothing brings it back.
            false if has_ended => {}
            false => session.may_be.push(value),
        }
    }

    /// Adds those of another client.
    pub fn add(&mut self, more: Self) {
        self.sessions.extend(more.sessions);
        self.answered += more.answered;
        self.refused += more.refused;
        self.unanswered += more.unanswered;
        for (what, count) in more.others {
            *self.others.entry(what).or_default() += count;
        }
    }

    /// Compares them with what is there.
    pub fn audit(&self, client: &Client) -> Audit {
        let mut audit = Audit { sessions: self.sessions.len(), ..Audit::default() };
        for session in &self.sessions {
            let answer = client.post("/sessman/get", json!({ "token": session.id }));
            let found = match answer.status {
                200 => answer.json()["data"]["n"].as_u64(),
                404 => None,
                // It cannot be read.
                _ => Some(0),
            };
            match session.may_be.contains(&found) {
                true => {}
                false if session.may_be == [None] => audit.alive += 1,
                false => audit.lost += 1,
            }
        }
        audit
    }
}

/// Has so many clients write while `fault` is done.
///
/// # Panics
/// When one of them does.
pub fn write_during(client: &Client, clients: usize, bytes: usize, fault: impl FnOnce()) -> Books {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stop = &stop;
        let clients: Vec<_> =
            (0..clients).map(|_| scope.spawn(move || Books::write(&client.clone(), bytes, stop))).collect();
        // Also when it panics: nobody would stop them.
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(fault));
        stop.store(true, Ordering::Relaxed);
        let mut books = Books::default();
        clients.into_iter().for_each(|client| books.add(client.join().expect("no client panicked")));
        if let Err(panic) = ended {
            std::panic::resume_unwind(panic);
        }
        books
    })
}

/// The id of the session, where there is a good answer.
fn ask(books: &mut Books, client: &Client, path: &str, body: &Value) -> Option<String> {
    match client.try_send("POST", path, &body.to_string()) {
        Ok(answer) if matches!(answer.status, 200 | 201) => {
            books.answered += 1;
            return Some(answer.json()["session_id"].as_str().unwrap_or_default().to_owned());
        }
        Ok(answer) if answer.status == 503 && answer.header("retry-after").is_some() => books.refused += 1,
        // A session of which nobody knows whether it has ended.
        Ok(answer) if answer.status == 404 && path != "/sessman/new" => {}
        Ok(answer) => *books.others.entry(format!("{path}: {}", answer.status)).or_default() += 1,
        Err(_) => books.unanswered += 1,
    }
    None
}

/// What SQLite says of a file that nobody uses: `ok`, or what is wrong, in a line.
///
/// # Panics
/// When it is no SQLite file.
pub fn integrity(file: &Path) -> String {
    let connection = rusqlite::Connection::open(file).expect("it opens");
    // Of what is there nothing is moved or removed.
    connection
        .set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .expect("a setting");
    let said: Result<String, _> = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0));
    said.unwrap_or_else(|error| error.to_string()).replace('\n', " ")
}

/// The file's log.
pub fn log_of(file: &Path) -> PathBuf {
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}
