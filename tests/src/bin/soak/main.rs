//! Long demonstrations, which `cargo xtask soak` starts: they take minutes, and print what they saw.
#![allow(clippy::print_stdout, reason = "what this program prints is its answer to a person")]

mod backup;
mod clients;
mod clocks;
mod disk;
mod dist;
mod faults;
mod histories;
mod hostile;
mod kills;
mod labels_million;
mod layout_1;
mod member;
mod memory;
mod openapi;
mod races;
mod redis_million;
mod reloads;
mod slow;
mod sqlite_million;
mod upgrade;

use std::process::ExitCode;

/// A demonstration: its name, and what shows it.
type Demonstration = (&'static str, fn() -> ExitCode);

const DEMONSTRATIONS: &[Demonstration] = &[
    ("backup", backup::run_all),
    ("clients", clients::run),
    ("clocks", clocks::run),
    ("disk", disk::run),
    ("dist", dist::run),
    ("faults", faults::run),
    ("histories", histories::run),
    ("hostile", hostile::run),
    ("kills", kills::run),
    ("labels-million", labels_million::run),
    ("layout-1", layout_1::run),
    ("member", member::run),
    ("memory", memory::run),
    ("openapi", openapi::run),
    ("races", races::run),
    ("redis-million", redis_million::run),
    ("reloads", reloads::run),
    ("slow", slow::run),
    ("sqlite-million", sqlite_million::run),
    ("upgrade", upgrade::run),
];

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    if name == disk::CONTROL {
        return disk::run_control();
    }
    if let Some((_, run)) = DEMONSTRATIONS.iter().find(|(known, _)| *known == name) {
        return run();
    }
    let known: Vec<&str> = DEMONSTRATIONS.iter().map(|(name, _)| *name).collect();
    println!("there is no demonstration `{name}`; there are: {}", known.join(", "));
    ExitCode::FAILURE
}
