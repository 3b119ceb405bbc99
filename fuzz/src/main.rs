//! Runs fuzz targets and prints a table: `cargo xtask fuzz`.
#![allow(clippy::print_stdout, reason = "what this program prints is its answer to a person")]

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use clap::builder::PossibleValuesParser;
use fuzz::{Plan, TARGETS, Target};

/// Tries the doors of the project with inputs made up at random.
#[derive(Parser)]
struct Options {
    /// Only these; none: all.
    #[arg(value_parser = PossibleValuesParser::new(TARGETS.iter().map(|target| target.name)))]
    targets: Vec<String>,

    /// Inputs for each target.
    #[arg(long, default_value_t = 1_000_000)]
    executions: u32,

    /// Repeats the run with this seed; none: a new one.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs());
    let plan = Plan { executions: options.executions, seed: options.seed.unwrap_or_else(now) };
    // What is caught is shown at the end, once, and not each time on the way to the smallest input.
    std::panic::set_hook(Box::new(|_| {}));

    println!("seed {}\n{:<10} {:>10} {:>8}  outcome", plan.seed, "target", "executions", "seconds");
    let is_chosen = |target: &&Target| {
        options.targets.is_empty() || options.targets.iter().any(|name| name == target.name)
    };
    let mut findings = Vec::new();
    for target in TARGETS.iter().filter(is_chosen) {
        // The name first: should the process itself end, it is known where.
        print!("{:<10} {:>10} ", target.name, plan.executions);
        let _ = std::io::stdout().flush();
        let started = Instant::now();
        let outcome = (target.run)(&plan);
        println!(
            "{:>8.1}  {}",
            started.elapsed().as_secs_f64(),
            if outcome.is_ok() { "ok" } else { "FAILED" }
        );
        findings.extend(outcome.err().map(|finding| (target.name, finding)));
    }
    for (name, finding) in &findings {
        println!("\n{name}: {finding}");
    }
    if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
