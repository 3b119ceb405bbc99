//! `cargo xtask soak`: long demonstrations, against the files that ship.

use std::process::ExitCode;

use anyhow::Result;

use crate::artifacts;
use crate::process::succeed;
use crate::servers::Servers;
use crate::tools;
use crate::wheels;
use crate::workspace::Workspace;

/// `cargo xtask soak NAME`
#[derive(clap::Args)]
pub(crate) struct Options {
    /// `backup`: 100,000 sessions backed up, restored into every store, compared and moved.
    /// `clients`: clients and proxies that are answered before their body was read, 60 times each.
    /// `clocks`: nodes whose clocks differ, on one store.
    /// `disk`: errors of single calls injected under SQLite, a volume that is full, a disk that stands still.
    /// `dist`: the packages of a release made twice and compared, and the Debian package installed and purged, as root.
    /// `faults`: stores killed, stopped, slowed and cut off under load. `histories`: what concurrent clients saw on every
    /// store, checked. `hostile`: 100,000 hostile requests at one process. `kills`: operations cut off from their store, and
    /// killed, between their writes. `labels-million`: a million sessions with labels in SQLite and Redis, listed by label.
    /// `layout-1`: makes `tests/fixtures/layout-1` anew. `member`: a member of a Redis cluster
    /// that hangs, and what the others' sessions notice of it. `memory`: everything that takes memory, in a control group of
    /// 512 MiB, as root. `redis-million`: a million sessions in Redis, listed and
    /// counted. `openapi`: thousands of requests made up from the OpenAPI description. `races`: 64 clients at once,
    /// 100 rounds, on every store. `reloads`: 200 reloads under load, on SQLite and MongoDB. `slow`: 10,000 connections
    /// that send a byte now and then, and 200 that idle, while normal requests go on. `sqlite-million`: a million sessions in SQLite.
    /// `upgrade`: the last release with layout 1 beside this one, and one taking the other's place under load.
    name: String,
}

/// Builds what ships and lets the demonstration loose on it.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    artifacts::build_shipped(&workspace)?;
    wheels::install_all(&workspace.tools());
    tools::ensure(&[tools::WRK])?;
    tools::ensure(tools::END_TO_END)?;
    let mut cargo = workspace.cargo();
    cargo.args(["run", "--package", "e2e", "--bin", "soak", "--", &options.name]);
    cargo.env("E2E_ARTIFACTS", workspace.release());
    let servers = Servers::provide(&workspace);
    for (name, reason) in servers.missing() {
        println!("MISSING: {name}: {reason}");
    }
    servers.describe_to(&mut cargo);
    succeed(&mut cargo)?;
    Ok(ExitCode::SUCCESS)
}
