//! `cargo xtask run`: from a clone to a serving host in one command.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, anyhow};

use crate::workspace::Workspace;
use crate::{artifacts, rundir};

/// A first session, for the configuration as it ships.
const EXAMPLE: &str =
    r#"curl -X POST http://127.0.0.1:6123/sessman/new -d '{"user_id": "ada", "data": {"theme": "dark"}}'"#;

/// `cargo xtask run [--plugin FOLDER]... [-- ARGUMENTS TO PSERVE]`
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A plugin's project, which is built and served, too; may be given several times. With `-- dev`, later builds of it
    /// are served as well.
    #[arg(long = "plugin", value_name = "FOLDER")]
    plugins: Vec<PathBuf>,

    /// Handed to pserve after its `-i FILE`.
    #[arg(last = true)]
    pserve: Vec<OsString>,
}

/// Builds, lays out, and becomes pserve.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    println!(
        "Building pserve and its plugins without the optimisations of a release; from nothing that takes minutes"
    );
    let started = Instant::now();
    artifacts::build_served(&workspace)?;
    let built = artifacts::quick_folder(&workspace);
    let shipped: Vec<_> = artifacts::shipped_plugin_files().map(|name| built.join(name)).collect();
    let mut linked = Vec::new();
    for project in &options.plugins {
        linked.extend(artifacts::build_project(project)?);
    }
    println!("Built in {:.0} s", started.elapsed().as_secs_f64());
    let layout =
        rundir::lay_out(&workspace.root.join("config"), &shipped, &linked, &workspace.target.join("run"))
            .context("the run folder could not be laid out")?;
    for note in &layout.notes {
        println!("{note}");
    }
    println!("Starting pserve with {}; Ctrl-C stops it", layout.ini.display());
    if layout.is_as_shipped {
        println!("In another terminal:\n\n    {EXAMPLE}\n");
    }

    let mut pserve = Command::new(built.join(artifacts::host_file()));
    pserve.arg("-i").arg(&layout.ini).args(&options.pserve);
    // Not a child but this process itself: signals, terminal and exit status are then pserve's own.
    let error = pserve.exec();
    Err(anyhow!(error).context(format!("could not start {}", pserve.get_program().display())))
}
