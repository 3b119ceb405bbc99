//! A `redis-server` of a test's own, to set up, take away and bring back.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A running server, whose files outlive it; killed when it is dropped.
pub struct Redis {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Redis {
    /// Starts one on a free port; `None`, and reported, where it cannot be had.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(test: &str, settings: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("its number").port();
        drop(listener);
        let Some(child) = spawn(port, &folder, settings) else {
            crate::skip(test, "no redis-server on PATH");
            return None;
        };
        Some(Self { child, port, folder })
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as `kill -9` does.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn kill_9(&mut self) {
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it ends");
    }

    /// Starts it again with its files, after it was killed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&mut self, settings: &[&str]) {
        self.child = spawn(self.port, &self.folder, settings).expect("it was there before");
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When it is not there.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a process id");
        kill_process(pid, signal).expect("it takes the signal");
    }

    /// What `redis-cli` prints for a command.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["--no-auth-warning", "-p", &self.port.to_string()]).args(arguments);
        let output = command.output().expect("redis-cli starts");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a server and waits until it listens; `None` where there is no such program.
fn spawn(port: u16, folder: &TempDir, settings: &[&str]) -> Option<Child> {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string(), "--dir"]);
    command.arg(folder.path()).args(settings).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.spawn().ok()?;
    let started = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(matches!(child.try_wait(), Ok(None)), "redis-server ended");
        assert!(started.elapsed() < Duration::from_secs(60), "redis-server does not listen");
        thread::sleep(Duration::from_millis(20));
    }
    Some(child)
}
