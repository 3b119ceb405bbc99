//! `pserve`: command line, configuration, plugins, serving, drain.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use pserve::cli::{Cli, Command};
use pserve::config::Config;
use pserve::host::Host;
use pserve::log;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pserve: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    if let Some(Command::Probe { library_fd }) = cli.command {
        return Ok(pserve::probe_child(library_fd)?);
    }
    let config = Config::load(&cli.ini_file)?;
    log::begin(&config.log, cli.level())?;
    Host::load(config, &cli.ini_file)?.serve()?;
    Ok(())
}
