//! `cargo xtask test`: every check, each under a heading, and what came of it in the last lines.
//!
//! The tests learn about the run from the environment; started by plain `cargo test` they find none of this set.
//!
//! - `E2E_ARTIFACTS`: the folder with the release profile's files (`pserve`, `libsessman_plugin.so`, ...). Unset:
//!   `target/release` of the workspace.
//! - `E2E_SKIPS`: a file. A test that finds it cannot check what it is for appends one line, `name: reason`, and
//!   returns; one line for each such test. They are named in the summary and not counted as passed. Unset: the test
//!   says so on stderr.
//! - The MongoDB of the run: see [`crate::mongodb`]; the Redis: see [`crate::redis`].

use std::fs;
use std::io::ErrorKind;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::builder::PossibleValuesParser;

use crate::report::{Report, Tally, Verdict};
use crate::shown;
use crate::stages::{Checks, Findings, STAGES, Stage};
use crate::workspace::Workspace;

/// `cargo xtask test [STAGE]... [-- ARGUMENTS TO THE TEST BINARIES]`
#[derive(clap::Args)]
#[command(after_help = stage_list())]
pub(crate) struct Options {
    /// Only these stages, and what they need; none: all.
    #[arg(value_parser = PossibleValuesParser::new(STAGES.iter().map(|stage| stage.name)), hide_possible_values = true)]
    stages: Vec<String>,

    /// Handed to the test binaries: part of a test's name, `--nocapture`, ...
    #[arg(last = true)]
    test_arguments: Vec<String>,
}

fn stage_list() -> String {
    let lines: Vec<String> =
        STAGES.iter().map(|stage| format!("  {:<8} {}", stage.name, stage.about)).collect();
    format!("Stages:\n{}", lines.join("\n"))
}

/// Runs the chosen stages, all of them even if one fails: a developer sees everything at once.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    let checks = Checks::new(workspace, options.test_arguments.clone());
    fs::create_dir_all(checks.workspace.tools()).context("could not make a folder for tools")?;
    match fs::remove_file(&checks.skips) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("could not remove {}", checks.skips.display()));
        }
        _ => {}
    }

    let mut report = Report::default();
    for stage in chosen(&options.stages) {
        run_stage(stage, &checks, &mut report);
    }
    // Only a run of everything says anything about it.
    if options.stages.is_empty() && options.test_arguments.is_empty() {
        add_shown(&checks, &mut report);
    }
    add_skips(&checks, &mut report)?;

    println!("{report}");
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn chosen(names: &[String]) -> impl Iterator<Item = &'static Stage> {
    let is_named = |name: &str| names.iter().any(|named| named == name);
    STAGES.iter().filter(move |stage| {
        let needed = STAGES.iter().any(|other| is_named(other.name) && other.needs == Some(stage.name));
        names.is_empty() || is_named(stage.name) || needed
    })
}

fn run_stage(stage: &'static Stage, checks: &Checks, report: &mut Report) {
    println!("\n=== {}: {}", stage.name, stage.about);
    let started = Instant::now();
    if let Some(needs) = stage.needs.filter(|needs| !report.has_passed(needs)) {
        println!("not run: {needs} failed");
        report.stage(
            stage.name,
            started.elapsed(),
            Tally::default(),
            Verdict::NotRun(format!("{needs} failed")),
        );
        return;
    }
    let mut findings = Findings::default();
    let verdict = match (stage.run)(checks, &mut findings) {
        Ok(()) => Verdict::Passed,
        Err(error) => {
            println!("FAILED: {error:#}");
            Verdict::Failed(format!("{error:#}"))
        }
    };
    checks.passed.borrow_mut().append(&mut findings.passed);
    println!("--- {}: {:.1} s", stage.name, started.elapsed().as_secs_f64());
    report.stage(stage.name, started.elapsed(), findings.tally, verdict);
    for (name, reason) in &findings.ignored {
        report.left_out(name, reason, true);
    }
}

/// Looks whether the tests that the page about security names have run.
fn add_shown(checks: &Checks, report: &mut Report) {
    let started = Instant::now();
    let skipped = fs::read_to_string(&checks.skips).unwrap_or_default();
    let verdict = match shown::check(&checks.workspace, &checks.passed.borrow(), &skipped) {
        Ok(()) => Verdict::Passed,
        Err(error) => Verdict::Failed(format!("{error:#}")),
    };
    report.stage("shown", started.elapsed(), Tally::default(), verdict);
}

/// Adds what tests reported as skipped, and what could not be had on this machine.
fn add_skips(checks: &Checks, report: &mut Report) -> Result<()> {
    match fs::read_to_string(&checks.skips) {
        Ok(lines) => {
            lines.lines().filter(|line| !line.trim().is_empty()).for_each(|line| report.skipped_test(line))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => {
            return Err(error).with_context(|| format!("could not read {}", checks.skips.display()));
        }
    }
    for (name, reason) in checks.missing() {
        report.left_out(name, reason, false);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::chosen;
    use crate::stages::STAGES;

    fn names(named: &[&str]) -> Vec<&'static str> {
        let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
        chosen(&named).map(|stage| stage.name).collect()
    }

    #[test]
    fn without_a_name_all_stages_run() {
        assert_eq!(names(&[]).len(), STAGES.len());
    }

    #[test]
    fn a_named_stage_brings_what_it_needs_first() {
        assert_eq!(names(&["e2e"]), ["build", "e2e"]);
        assert_eq!(names(&["unit", "format"]), ["format", "unit"]);
    }
}
