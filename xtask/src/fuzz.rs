//! `cargo xtask fuzz`: the fuzz targets, for as long as is asked for.

use std::process::ExitCode;

use anyhow::Result;

use crate::process::succeed;
use crate::workspace::Workspace;

/// `cargo xtask fuzz [TARGET]... [--executions N] [--seed N]`
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only these targets; none: all. A name that is none is answered with the list.
    targets: Vec<String>,

    /// Inputs for each target.
    #[arg(long, default_value_t = 1_000_000)]
    executions: u32,

    /// Repeats a run: it printed its seed first.
    #[arg(long)]
    seed: Option<u64>,
}

/// Builds the targets, with the checks of a test and the speed of what ships, and runs them. They print their table
/// themselves: the list of targets is theirs.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    let mut cargo = workspace.cargo();
    cargo.args(["run", "--profile", "fuzz", "--package", "fuzz", "--"]).args(&options.targets);
    cargo.args(["--executions", &options.executions.to_string()]);
    if let Some(seed) = options.seed {
        cargo.args(["--seed", &seed.to_string()]);
    }
    succeed(&mut cargo)?;
    Ok(ExitCode::SUCCESS)
}
