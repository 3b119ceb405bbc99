//! The command list of the project, for people and CI alike.
//!
//! - [`run`]: `cargo xtask run` builds the host and its plugins, fast, and starts them from `target/run`.
//! - [`mod@test`]: `cargo xtask test` runs every check and every test, and installs what they need.
//! - [`planted`]: `cargo xtask planted` takes away what docs/security.md speaks of, and wants its tests to fail.
//! - [`mod@bench`]: `cargo xtask bench` measures side by side.
//! - [`book`]: `cargo xtask book` writes what docs/ has from the source, and builds the book.
//! - [`fuzz`]: `cargo xtask fuzz` tries the doors with inputs that reach ever more of the code.
//! - [`dist`]: `cargo xtask dist` makes the packages of a release.
//! - [`new`]: `cargo xtask new` makes a plugin of one's own from the template.
//!
//! What these share: [`workspace`] finds the project and speaks to cargo, [`artifacts`] builds the files that ship,
//! [`process`] starts programs and stops servers, [`tools`], [`wheels`] and [`npm`], [`maven`] install what is
//! missing.
#![allow(clippy::print_stdout, reason = "what this program prints is its answer to a person")]

mod artifacts;
mod bench;
mod book;
mod deny;
mod dist;
mod fuzz;
#[cfg(test)]
mod imports;
mod maven;
mod mongodb;
mod new;
mod npm;
mod planted;
mod process;
mod redis;
mod report;
mod run;
mod rundir;
mod servers;
mod shown;
mod soak;
mod stages;
mod standin;
mod test;
mod tools;
mod wheels;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, starts and checks the project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds the host and its plugins, fast, lays out `target/run` and starts pserve there; what is edited or stored there stays.
    Run(run::Options),
    /// Measures sessman against bare hyper and other session services.
    Bench(bench::Options),
    /// Writes what docs/ has from the source, and builds the book into `target/book`.
    Book,
    /// Runs a long demonstration.
    Soak(soak::Options),
    /// Runs every check and test, or the stages that are named; installs what they need.
    Test(test::Options),
    /// Takes away what docs/security.md speaks of, one thing at a time, in a copy: the tests that show it must fail.
    Planted(planted::Options),
    /// Tries what comes in from outside with a million inputs each, picked by the code they reach.
    Fuzz(fuzz::Options),
    /// Makes the packages of a release: a tarball and a Debian package.
    Dist(dist::Options),
    /// Makes a plugin of one's own from the template.
    New(new::Options),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(options) => run::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Book => book::run(),
        Command::Soak(options) => soak::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Planted(options) => planted::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Dist(options) => dist::run(&options),
        Command::New(options) => new::run(&options),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
