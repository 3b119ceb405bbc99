//! A service that runs, is filled, and waits for the load.

use std::any::Any;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use e2e::wrk::{NUMBER, Requests};
use tempfile::NamedTempFile;

use crate::pin::Cores;
use crate::wire::{self, Answer};

/// What the load asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Get,
    Update,
    New,
}

/// How much is in a service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene {
    pub(crate) sessions: usize,
    /// Bytes of a session's data.
    pub(crate) data_bytes: usize,
    pub(crate) cores: Cores,
}

impl Scene {
    /// The scene of the first table.
    pub(crate) const USUAL: Self = Self { sessions: 1_000, data_bytes: 200, cores: Cores::First };

    /// The data of a session as JSON, with the number that a write changes.
    pub(crate) fn data(self) -> String {
        let frame = format!("{{\"number\":\"{NUMBER}\",\"text\":\"\"}}").len();
        format!(
            "{{\"number\":\"{NUMBER}\",\"text\":\"{}\"}}",
            "x".repeat(self.data_bytes.saturating_sub(frame))
        )
    }
}

/// How a service is spoken to: whole requests, with `{id}` where the id goes.
#[derive(Debug, Clone)]
pub(crate) struct Dialect {
    pub(crate) get: String,
    pub(crate) update: String,
    pub(crate) new: Option<String>,
    /// What the load sends for the id: from the answer to `new`, or from the number of the session.
    pub(crate) id: fn(usize, &Answer) -> Option<String>,
}

/// A service that runs; it stops with this value.
pub(crate) struct Running {
    pub(crate) address: String,
    dialect: Dialect,
    ids: NamedTempFile,
    pids: Vec<u32>,
    _keep: Box<dyn Any>,
}

impl Running {
    /// Fills the service at `address` and reads everything back.
    pub(crate) fn fill(
        address: String,
        dialect: Dialect,
        scene: Scene,
        pids: Vec<u32>,
        keep: impl Any,
    ) -> Result<Self> {
        let mut ids = Vec::with_capacity(scene.sessions);
        // Without a way to make sessions, a change of one makes it.
        let make = dialect.new.as_ref().unwrap_or(&dialect.update);
        wire::exchange(
            &address,
            scene.sessions,
            |number| make.replace("{id}", &format!("{number:08}")),
            |number, answer| {
                ids.push((dialect.id)(number, &answer).with_context(|| format!("no id: {answer:?}"))?);
                Ok(())
            },
        )?;
        let text = format!("\"x{}", "x".repeat(scene.data_bytes / 2));
        wire::exchange(
            &address,
            ids.len(),
            |number| dialect.get.replace("{id}", &ids[number]),
            |_, answer| {
                let is_there = answer.body.replace("\\\"", "\"").contains(&text);
                ensure!(is_there, "a session does not come back: {}", answer.body);
                Ok(())
            },
        )?;
        Self::filled(address, dialect, &ids, pids, keep)
    }

    /// A service that has these sessions.
    pub(crate) fn filled(
        address: String,
        dialect: Dialect,
        ids: &[String],
        pids: Vec<u32>,
        keep: impl Any,
    ) -> Result<Self> {
        let mut file = NamedTempFile::new()?;
        // A header's value may end with spaces.
        let width = ids.iter().map(String::len).max().unwrap_or(0);
        for id in ids {
            writeln!(file, "{id:width$}")?;
        }
        file.flush()?;
        Ok(Self { address, dialect, ids: file, pids, _keep: Box::new(keep) })
    }

    pub(crate) fn requests(&self, kind: Kind) -> Option<Requests> {
        match kind {
            Kind::Get => Some(Requests::new(&self.dialect.get)),
            Kind::Update => Some(Requests::new(&self.dialect.update)),
            Kind::New => self.dialect.new.as_deref().map(Requests::new),
        }
    }

    /// The file with the ids, one a line.
    pub(crate) fn ids(&self) -> &Path {
        self.ids.path()
    }

    /// Seconds of CPU that its processes have used.
    pub(crate) fn cpu(&self) -> f64 {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        self.pids.iter().map(|pid| cpu_ticks(*pid) as f64 / ticks).sum()
    }

    /// KiB that its processes hold in memory.
    pub(crate) fn memory(&self) -> u64 {
        self.pids.iter().map(|pid| memory_kib(*pid)).sum()
    }
}

fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold anything; user and system time are the 12th and 13th word after it.
    let words = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    words.skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum()
}

fn memory_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// A process that is stopped when it is dropped.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program on these cores that prints the address it listens on.
pub(crate) fn start(command: &mut Command, cores: Cores) -> Result<(Process, String)> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut process = Process(cores.during(|| command.spawn())?.with_context(|| format!("{command:?}"))?);
    let mut address = String::new();
    BufReader::new(process.0.stdout.take().context("piped")?).read_line(&mut address)?;
    ensure!(!address.is_empty(), "{command:?} ended");
    Ok((process, address.trim_end().to_owned()))
}

/// A request as it goes over the wire.
pub(crate) fn request(line: &str, headers: &str, body: &str) -> String {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("{line} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}{length}\r\n{body}")
}
