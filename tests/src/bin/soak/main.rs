//! Long demonstrations, which `cargo xtask soak` starts: they take minutes, and print what they saw.
#![allow(clippy::print_stdout, reason = "what this program prints is its answer to a person")]

mod hostile;
mod million;
mod openapi;
mod races;
mod reloads;
mod slow;

use std::process::ExitCode;

use e2e::pserve::Pserve;

/// A demonstration: its name, and what shows it.
type Demonstration = (&'static str, fn() -> ExitCode);

const DEMONSTRATIONS: &[Demonstration] = &[
    ("hostile", hostile::run),
    ("million", million::run),
    ("openapi", openapi::run),
    ("races", races::run),
    ("reloads", reloads::run),
    ("slow", slow::run),
];

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    if let Some((_, run)) = DEMONSTRATIONS.iter().find(|(known, _)| *known == name) {
        return run();
    }
    let known: Vec<&str> = DEMONSTRATIONS.iter().map(|(name, _)| *name).collect();
    println!("there is no demonstration `{name}`; there are: {}", known.join(", "));
    ExitCode::FAILURE
}

/// What the process holds in memory.
pub(crate) fn memory_kib(pserve: &Pserve) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pserve.pid())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its memory");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}
