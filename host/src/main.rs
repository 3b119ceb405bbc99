//! `pserve`: command line, configuration, plugins, serving, drain.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{CommandFactory as _, Parser};
use pserve::check::Findings;
use pserve::cli::{Cli, Command, Healthcheck};
use pserve::config::Config;
use pserve::dev::Watch;
use pserve::generate;
use pserve::healthcheck::{self, Question};
use pserve::host::Host;
use pserve::log::{self, Precedence};

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("pserve: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode> {
    match &cli.command {
        None | Some(Command::Dev) => serve(cli)?,
        Some(Command::Probe { library_fd }) => pserve::probe_child(*library_fd)?,
        Some(Command::Check { json }) => {
            let findings = Findings::of(&cli.ini_file);
            print(&if *json { findings.json() } else { findings.to_string() })?;
            return Ok(if findings.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Some(Command::Plugins { json }) => {
            let findings = Findings::of(&cli.ini_file);
            print(&if *json { findings.plugins_json()? } else { findings.plugins_table()? })?;
        }
        Some(Command::Generate(into)) => generate::write(&Cli::command(), into)?,
        Some(Command::Healthcheck(asked)) => print(healthcheck(cli, asked)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn serve(cli: &Cli) -> Result<()> {
    let config = Config::load(&cli.ini_file)?;
    let precedence = Precedence { file: cli.log_file.clone(), level: cli.log_level };
    let logging = log::begin(&config.log, precedence)?;
    // Before the host reads the files, so that no change is missed.
    let watch = matches!(cli.command, Some(Command::Dev)).then(|| Watch::new(&cli.ini_file, &config));
    let host = Host::load(config, &cli.ini_file, logging)?;
    match watch {
        Some(watch) => host.watched(watch).serve()?,
        None => host.serve()?,
    }
    Ok(())
}

fn healthcheck(cli: &Cli, asked: &Healthcheck) -> Result<&'static str> {
    let (address, tls) = match asked.address {
        Some(address) => (address, asked.tls),
        None => {
            let config = Config::load(&cli.ini_file)?;
            (healthcheck::address(&config)?, config.tls.is_some())
        }
    };
    let (question, good) = if asked.live { (Question::Live, "live") } else { (Question::Ready, "ready") };
    healthcheck::ask(address, tls, question, Duration::from_secs(asked.timeout))?;
    Ok(good)
}

fn print(text: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{}", text.trim_end())
}
