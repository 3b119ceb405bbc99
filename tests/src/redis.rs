//! A `redis-server` of a test's own, to set up, take away and bring back.

use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::ports;
use crate::pserve::{eventually, send_signal};

/// Settings with which it keeps what it has answered.
pub const KEPT: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];

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
        let port = ports::free();
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

    /// The `sessman.json` for a store on it.
    pub fn config(&self) -> Value {
        json!({ "server_url": format!("redis://127.0.0.1:{}", self.port) })
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
        send_signal(&self.child, signal);
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

/// A cluster of three masters.
pub struct Cluster {
    /// Each with a third of the keys.
    pub members: Vec<Redis>,
    settings: Vec<Vec<String>>,
}

impl Cluster {
    /// Starts one; `None`, and reported, where it cannot be had.
    ///
    /// # Panics
    /// When the members do not become a cluster.
    pub fn start(test: &str, settings: &[&str]) -> Option<Self> {
        let mut cluster = Self { members: Vec::new(), settings: Vec::new() };
        for _ in 0..3 {
            // The bus is 10000 above the port unless it is said, and that may be beyond the last port.
            let bus = ports::free().to_string();
            let ours = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", &bus];
            let settings = [&ours, settings].concat();
            cluster.members.push(Redis::start(test, &settings)?);
            cluster.settings.push(settings.into_iter().map(str::to_owned).collect());
        }
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create"]).args(cluster.addresses().split(','));
        create.args(["--cluster-replicas", "0", "--cluster-yes"]).stdout(Stdio::null());
        assert!(create.status().is_ok_and(|status| status.success()), "redis-cli makes a cluster");
        for member in &cluster.members {
            eventually("a cluster", || member.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok"));
        }
        Some(cluster)
    }

    /// `host:port` of each, with commas.
    pub fn addresses(&self) -> String {
        let addresses = self.members.iter().map(|member| format!("127.0.0.1:{}", member.port));
        addresses.collect::<Vec<_>>().join(",")
    }

    /// Starts a member again with its files, after it was killed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&mut self, member: usize) {
        let settings: Vec<&str> = self.settings[member].iter().map(String::as_str).collect();
        self.members[member].start_again(&settings);
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
