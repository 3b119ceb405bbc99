//! `sessctl`: manages the sessions of a `sessman`, with the configuration files of `pserve`.
//!
//! - [`cli`]: the command line; [`filter`]: its options that choose sessions; [`commands`]: a file for each command
//! - [`environment`]: the variables of the configuration, those of a file for systemd among them
//! - [`site`]: finds a configured instance; [`actor`]: who executes a command, this process or a running pserve
//! - [`server`]: the client of a running pserve; [`pages`]: reads all records of a store, [`unread`]: those that cannot be read;
//!   [`target`]: writes records into a store
//! - [`backup`]: the file format of backups; [`line`](mod@line): a record as a line of it
//! - [`retry`]: retries while a store is unreachable
//! - [`failure`]: errors and exit codes
//! - [`output`], [`progress`]: standard output and standard error

mod actor;
mod backup;
mod cli;
mod commands;
mod environment;
mod failure;
mod filter;
mod line;
mod output;
mod pages;
mod progress;
mod retry;
mod server;
mod site;
mod target;
mod unread;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;

use cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Warnings of the stores go to standard error, apart from the output.
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .without_time()
        .with_target(false)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let outcome = runtime.block_on(commands::run(&cli));
        // Does not wait for a driver that is still trying to reach its server.
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}
