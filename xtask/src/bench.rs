//! `cargo xtask bench`: sessman, bare hyper and other session services side by side.

use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::artifacts;
use crate::npm;
use crate::process::succeed;
use crate::servers::Servers;
use crate::tools::{self, Tool};
use crate::workspace::Workspace;

/// What is measured with, and what is measured beside sessman.
const TOOLS: &[Tool] = &[
    tools::WRK,
    Tool { program: "webdis", package: "webdis" },
    Tool { program: "redis-benchmark", package: "redis-tools" },
];

/// `cargo xtask bench`
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Write docs/benchmarks.md.
    #[arg(long)]
    write: bool,
    /// For the benchmark itself: `--rounds 5`, `--seconds 3`, `--parts services,connections,...`.
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Builds what ships and what it is measured against, and measures.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    tools::ensure(TOOLS)?;
    artifacts::build_shipped(&workspace)?;
    succeed(workspace.cargo().args(["build", "--release", "--package", "bench"]))?;
    build_peers(&workspace)?;
    let mut bench = Command::new(workspace.release().join("bench"));
    bench.args(&options.arguments).env("E2E_ARTIFACTS", workspace.release());
    if options.write {
        bench.arg("--out").arg(workspace.root.join("docs/benchmarks.md"));
    }
    let servers = Servers::provide(&workspace);
    for (name, reason) in servers.missing() {
        println!("MISSING: {name}: {reason}");
    }
    servers.describe_to(&mut bench);
    succeed(&mut bench)?;
    Ok(ExitCode::SUCCESS)
}

/// The peers have dependencies of their own, which the workspace does not share.
fn build_peers(workspace: &Workspace) -> Result<()> {
    let source = workspace.root.join("bench");
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--release", "--locked", "--manifest-path"]).arg(source.join("peers/Cargo.toml"));
    cargo.arg("--target-dir").arg(workspace.target.join("peers"));
    succeed(&mut cargo).context("the peers could not be built")?;
    let (express, folder) = (source.join("express"), workspace.target.join("express"));
    npm::install(&express, &folder)?;
    fs::copy(express.join("server.mjs"), folder.join("server.mjs")).context("server.mjs")?;
    Ok(())
}
