//! `cargo xtask run`: from a clone to a serving host in one command.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, anyhow};

use crate::workspace::Workspace;
use crate::{artifacts, rundir};

/// `cargo xtask run [--plugin FOLDER]... [-- ARGUMENTS TO PSERVE]`
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A plugin's project, which is built and served, too; may be given several times.
    #[arg(long = "plugin", value_name = "FOLDER")]
    plugins: Vec<PathBuf>,

    /// Handed to pserve after its `-i FILE`.
    #[arg(last = true)]
    pserve: Vec<OsString>,
}

/// Builds, lays out, and becomes pserve.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    artifacts::build_shipped(&workspace)?;
    let mut plugins: Vec<_> =
        artifacts::shipped_plugin_files().map(|name| workspace.release().join(name)).collect();
    for project in &options.plugins {
        plugins.extend(artifacts::build_project(&workspace, project)?);
    }
    let layout = rundir::lay_out(&workspace.root.join("config"), &plugins, &workspace.target.join("run"))
        .context("the run folder could not be laid out")?;
    for note in &layout.notes {
        println!("{note}");
    }

    let mut pserve = Command::new(workspace.release().join(artifacts::host_file()));
    pserve.arg("-i").arg(&layout.ini).args(&options.pserve);
    // Not a child but this process itself: signals, terminal and exit status are then pserve's own.
    let error = pserve.exec();
    Err(anyhow!(error).context(format!("could not start {}", pserve.get_program().display())))
}
