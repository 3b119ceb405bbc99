//! `cargo xtask fuzz`: the fuzz targets, for as long as is asked for.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::process::succeed;
use crate::tools;
use crate::workspace::Workspace;

/// `cargo xtask fuzz [TARGET]... [--executions N] [--seed N]`
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only these targets; none: all. A name that is none is answered with the list.
    targets: Vec<String>,

    /// Inputs for each target.
    #[arg(long, default_value_t = 1_000_000)]
    executions: u32,

    /// Repeats a run that began with the same kept inputs: it printed its seed first.
    #[arg(long)]
    seed: Option<u32>,

    /// Tries one file, which an earlier run kept because it failed, at one target.
    #[arg(long)]
    replay: Option<PathBuf>,
}

/// What `cargo fuzz` sets, less what takes a nightly compiler: counters at every edge and the operands of comparisons, for
/// libFuzzer to read.
const COUNTERS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    // Else texts are compared without a call, and libFuzzer, which looks at the operands of those, learns no keyword.
    "-Cllvm-args=-max-loads-per-memcmp=0",
];

/// Builds the targets, with the checks of a test and the speed of what ships, and runs them. They print their table
/// themselves: the list of targets is theirs.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    tools::ensure(&[tools::CPP])?;
    let workspace = Workspace::find()?;
    let folder = workspace.target.join("fuzz-guided");
    let mut cargo = workspace.cargo();
    cargo.args(["run", "--quiet", "--profile", "fuzz", "--package", "fuzz", "--features", "guided"]);
    // A named target, though it is this machine, keeps the flags from build scripts and macros, which could not be
    // linked; a folder of its own keeps them from everything else.
    cargo.args(["--target", &host(&workspace)?]).env("CARGO_TARGET_DIR", folder.join("build"));
    cargo.env("CARGO_ENCODED_RUSTFLAGS", COUNTERS.join("\u{1f}"));
    cargo.arg("--").args(&options.targets).arg("--folder").arg(folder.join("inputs"));
    cargo.args(["--executions", &options.executions.to_string()]);
    if let Some(seed) = options.seed {
        cargo.args(["--seed", &seed.to_string()]);
    }
    if let Some(file) = &options.replay {
        // cargo starts in the folder of the workspace, not in that of the person who types.
        cargo.arg("--replay").arg(std::path::absolute(file)?);
    }
    succeed(&mut cargo)?;
    Ok(ExitCode::SUCCESS)
}

/// What the compiler calls this machine.
fn host(workspace: &Workspace) -> Result<String> {
    let output = workspace.cargo().arg("-vV").output().context("cargo could not be started")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`cargo -vV` names no host")?.to_owned())
}
