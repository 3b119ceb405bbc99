//! What the end to end tests share: a real `pserve` in a folder of its own, the stores, an HTTP client.
//!
//! `cargo xtask test` sets the environment that is read here; its `test` module lists it.

pub mod blocks;
pub mod browser;
pub mod cgroup;
pub mod clock;
pub mod clocks;
pub mod container;
pub mod cut;
pub mod disk;
pub mod early;
pub mod faults;
pub mod history;
pub mod hostile;
pub mod http;
pub mod javascript;
pub mod kills;
pub mod layout_1;
pub mod nginx;
pub mod pages;
pub mod ports;
pub mod promtool;
pub mod proxy;
pub mod pserve;
pub mod races;
pub mod raw;
pub mod redis;
pub mod reference;
pub mod release;
pub mod schemathesis;
pub mod sessctl;
pub mod standin;
pub mod store;
mod strace;
pub mod strangers;
pub mod tls;
pub mod wrk;
pub mod wsgi;

use std::env;
use std::io::Write as _;
use std::path::PathBuf;

/// The folder with the files that ship.
pub fn artifacts() -> PathBuf {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release");
    PathBuf::from(env::var_os("E2E_ARTIFACTS").unwrap_or_else(|| default.into()))
}

/// Reports a test that cannot check what it is for, so that it is not taken for one that did.
///
/// # Panics
/// When the report cannot be written.
pub fn skip(name: &str, reason: &str) {
    match env::var_os("E2E_SKIPS") {
        Some(path) => {
            let mut file =
                std::fs::OpenOptions::new().create(true).append(true).open(path).expect("E2E_SKIPS opens");
            writeln!(file, "{name}: {reason}").expect("E2E_SKIPS takes a line");
        }
        None => eprintln!("SKIPPED: {name}: {reason}"),
    }
}
