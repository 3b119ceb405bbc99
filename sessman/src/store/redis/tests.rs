//! The store against servers: the one that `E2E_REDIS_URL` names and the cluster of `E2E_REDIS_CLUSTER`, which
//! `cargo xtask test` provides as it does the Valkey of `E2E_VALKEY_URL`, and servers of a test's own.

mod clock;
mod cluster;
mod index;
mod layouts;
mod log;
mod members;
mod outage;
mod places;
mod replicas;
mod server;
mod tidying;
mod valkey;

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{RedisConfig, RedisStore};
use crate::mark::Mark;
use crate::record::Record;
use crate::secret::Secret;
use crate::store::conformance::{Fixture, away, conformance_tests, skip};
use crate::store::{Store as _, Target};

fn config(server_url: &str) -> RedisConfig {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    RedisConfig {
        server_url: Secret::new(server_url),
        username: None,
        password: None,
        database: None,
        prefix: format!("test-{}-{number}", std::process::id()),
        tls_ca_file: None,
        tls_certificate_file: None,
        tls_key_file: None,
        wait_replicas: 0,
    }
}

/// A record of user `ada` whose mark says when it began, as the engine makes it.
fn record(n: u8) -> Arc<Record> {
    let record = away::record(n);
    let seconds = u32::try_from(record.created_at.as_millis() / 1_000).unwrap();
    let mark = u64::from(seconds) << 32 | u64::from(n);
    Arc::new(Record { mark: Mark::from(mark.to_be_bytes()), ..(*record).clone() })
}

/// Whether the store deletes a record, if it is what the target says.
async fn delete(store: &RedisStore, target: Target) -> bool {
    store.delete(&[target]).await.unwrap() == [target.handle]
}

/// Waits for what is done behind an answer.
async fn eventually(mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(60), "never");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Deletes what a test stored when it is dropped.
struct Cleared(RedisConfig);

impl Drop for Cleared {
    fn drop(&mut self) {
        let config = self.0.clone();
        // Not to be waited for here: a runtime must not be entered from within another.
        let clearing = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                if let Ok(store) = RedisStore::open(&config) {
                    let _ = store.clear().await;
                    store.close().await;
                }
            });
            Ok::<_, std::io::Error>(())
        });
        let _ = clearing.join();
    }
}

/// A store with keys of its own on servers that the environment names.
fn fixture(variable: &str) -> Option<Fixture> {
    let Ok(url) = std::env::var(variable) else {
        skip(&format!("no Redis: {variable} is not set"));
        return None;
    };
    let config = config(&url);
    let store = RedisStore::open(&config).unwrap();
    Some(Fixture::with(store, Cleared(config)))
}

async fn open() -> Option<Fixture> {
    fixture("E2E_REDIS_URL")
}

conformance_tests!(open);

/// A `redis-server` of a test's own; killed when it is dropped.
struct Server {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Server {
    /// Starts one on any free port.
    fn start(settings: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let child = spawn(port, &folder, settings)?;
        Some(Self { child, port, folder })
    }

    /// Kills it.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port, with the same files.
    fn start_again(&mut self, settings: &[&str]) {
        self.child = spawn(self.port, &self.folder, settings).unwrap();
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn config(&self) -> RedisConfig {
        config(&self.address())
    }

    /// What `redis-cli` prints for a command.
    fn cli(&self, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli").args(["-p", &port]).args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn spawn(port: u16, folder: &TempDir, settings: &[&str]) -> Option<Child> {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--dir"]).arg(folder.path());
    command.arg("--logfile").arg(folder.path().join("log"));
    // A port for TLS takes the place of the plain one.
    let tls = settings.contains(&"--tls-cert-file");
    command
        .args(if tls { ["--port", "0", "--tls-port"].as_slice() } else { &["--port"] })
        .arg(port.to_string());
    command.args(settings).stdin(Stdio::null()).stdout(Stdio::null());
    let Ok(mut child) = command.spawn() else {
        skip("no redis-server on PATH");
        return None;
    };
    let started = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        let log = || fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        assert!(child.try_wait().unwrap().is_none(), "redis-server ended: {}", log());
        assert!(started.elapsed() < Duration::from_secs(60), "redis-server does not serve: {}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
    Some(child)
}
