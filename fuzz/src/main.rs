//! Tries the doors with inputs that libFuzzer picks by the code they reach, and prints a table: `cargo xtask fuzz`.
//!
//! libFuzzer tries one target a process and ends it, so this program starts itself for each.
#![allow(clippy::print_stdout, reason = "what this program prints is its answer to a person")]

mod guided;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use clap::builder::PossibleValuesParser;
use fuzz::log::Log;
use fuzz::{TARGETS, Target};

/// Tries what comes in from outside with inputs that reach ever more of the code.
#[derive(Parser)]
struct Options {
    /// Only these; none: all.
    #[arg(value_parser = PossibleValuesParser::new(TARGETS.iter().map(|target| target.name)))]
    targets: Vec<String>,

    /// Inputs for each target.
    #[arg(long, default_value_t = 1_000_000)]
    executions: u32,

    /// Repeats a run on a folder in the same state; none: a new seed.
    #[arg(long)]
    seed: Option<u32>,

    /// Where inputs are kept from one run to the next, with a log for each target.
    #[arg(long)]
    folder: PathBuf,

    /// Tries this one file, which an earlier run kept, at one target.
    #[arg(long)]
    replay: Option<PathBuf>,

    /// This process is libFuzzer's.
    #[arg(long, hide = true)]
    guided: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match (&options.replay, options.guided) {
        (Some(file), _) => replay(&options, file),
        (None, true) => guide(&options),
        (None, false) => try_all(&options),
    };
    outcome.unwrap_or_else(|error| {
        println!("error: {error}");
        ExitCode::FAILURE
    })
}

fn chosen(options: &Options) -> impl Iterator<Item = &'static Target> {
    let is_named = |target: &&Target| options.targets.iter().any(|name| name == target.name);
    TARGETS.iter().filter(move |target| options.targets.is_empty() || is_named(target))
}

fn only(options: &Options) -> io::Result<&'static Target> {
    let mut targets = chosen(options);
    match (targets.next(), targets.next()) {
        (Some(target), None) => Ok(target),
        _ => Err(io::Error::other("this takes the name of one target")),
    }
}

fn replay(options: &Options, file: &Path) -> io::Result<ExitCode> {
    let target = only(options)?;
    match (target.open)().with_bytes(&fs::read(file)?) {
        Ok(()) => println!("{}: ok", target.name),
        Err(finding) => {
            println!("{}: {finding}", target.name);
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn guide(options: &Options) -> io::Result<ExitCode> {
    let target = only(options)?;
    let run = guided::Run {
        executions: options.executions,
        seed: options.seed.unwrap_or(1),
        folder: options.folder.join(target.name),
    };
    run.start((target.open)())
}

fn try_all(options: &Options) -> io::Result<ExitCode> {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.subsec_nanos());
    // libFuzzer takes 0 for any.
    let seed = options.seed.unwrap_or_else(now).max(1);
    println!("seed {seed}; code is counted in branches, reached by what was kept before and in the end");
    println!("{:<10} {:>10} {:>8}  {:>14}  outcome", "target", "executions", "seconds", "code");
    let mut findings = String::new();
    for target in chosen(options) {
        print!("{:<10} ", target.name);
        io::stdout().flush()?;
        let folder = options.folder.join(target.name);
        fs::create_dir_all(&folder)?;
        let log = folder.join("log");
        let mut child = Command::new(std::env::current_exe()?);
        child.args([target.name, "--guided", "--folder"]).arg(&options.folder);
        child.args(["--executions", &options.executions.to_string(), "--seed", &seed.to_string()]);
        let started = Instant::now();
        let status =
            child.stdout(File::create(&log)?).stderr(File::options().append(true).open(&log)?).status()?;
        let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        let Log { executions, before, after } = Log::read(&text);
        let outcome = if status.success() { "ok" } else { "FAILED" };
        let seconds = started.elapsed().as_secs_f64();
        println!("{executions:>10} {seconds:>8.1}  {:>14}  {outcome}", format!("{before} .. {after}"));
        if !status.success() {
            findings.push_str(&format!(
                "\n{}: {}\n  all of it: {}\n",
                target.name,
                Log::why(&text),
                log.display()
            ));
        }
    }
    print!("{findings}");
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
