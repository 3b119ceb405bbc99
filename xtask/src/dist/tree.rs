//! The folder that becomes the tarball: whoever unpacks it can start `pserve` in it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::artifacts;
use crate::process::{output_of, succeed};
use crate::workspace::Workspace;

/// Text that goes along as it is.
const KEPT: [&str; 8] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "deploy",
    "docs",
];

/// What there is of the programs' own, under `share` as in /usr/local.
pub(super) const SHARE: &str = "share";

/// Makes the folder.
pub(super) fn lay_out(workspace: &Workspace, built: &Path, tree: &Path) -> Result<()> {
    for program in artifacts::program_files() {
        copy(&built.join(&program), &tree.join(&program))?;
        succeed(Command::new(tree.join(&program)).arg("generate").arg(tree.join(SHARE)))?;
    }
    for plugin in artifacts::shipped_plugin_files() {
        copy(&built.join(&plugin), &tree.join("plugins").join(&plugin))?;
    }
    for file in tracked(workspace, &KEPT)? {
        copy(&workspace.root.join(&file), &tree.join(&file))?;
    }
    // Beside the plugins, where `./pserve` looks.
    for file in tracked(workspace, &["config"])? {
        let name = Path::new(&file).file_name().context("a file without a name")?;
        copy(&workspace.root.join(&file), &tree.join(name))?;
    }
    Ok(())
}

/// What git knows there: nothing that a build or a person left lying about.
fn tracked(workspace: &Workspace, paths: &[&str]) -> Result<Vec<String>> {
    let files = output_of(workspace.git().args(["ls-files", "-z", "--"]).args(paths))?;
    Ok(files.split_terminator('\0').map(str::to_owned).collect())
}

/// Copies a file, and makes the folder that it goes into.
pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().context("a file without a folder")?)
        .and_then(|()| fs::copy(from, to))
        .with_context(|| format!("could not copy {} to {}", from.display(), to.display()))?;
    Ok(())
}
