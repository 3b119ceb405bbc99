//! `sessctl`: looks after the sessions of a `sessman`, with the configuration that `pserve` reads.
//!
//! - [`cli`]: the command line; [`commands`]: a file each
//! - [`site`]: from a configuration file to an instance; [`actor`]: who does what is asked, this process or a running pserve
//! - [`server`]: a running pserve; [`pages`]: all records of a store, [`unread`]: those that cannot be read; [`target`]: records
//!   into a store
//! - [`backup`]: the file; [`line`](mod@line): a record as a line of it
//! - [`failure`]: why a command failed, and what the process ends with
//! - [`output`], [`progress`]: what a person sees

mod actor;
mod backup;
mod cli;
mod commands;
mod failure;
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
    // What the stores have to say to a person, beside the answer.
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
        // A driver that still waits for a server that is away has nothing to say any more.
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}
