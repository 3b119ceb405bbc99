//! The programs of a release, with nothing of the machine in them that they were built on.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::crates::Crate;
use crate::artifacts;
use crate::workspace::Workspace;

/// Builds what ships in a target folder of its own: with other flags than those of `target/release`, cargo would build
/// that anew each time the two take turns.
///
/// Paths of this machine are told to the compilers by other names. Who builds the same commit elsewhere gets the same
/// files, and a panic's message says nothing about who built it.
pub(super) fn portable(workspace: &Workspace, crates: &[Crate]) -> Result<PathBuf> {
    let target = workspace.target.join("dist-build");
    // The longer path behind the one that it is in: the last that fits counts.
    let mut renamed = vec![(workspace.root.clone(), "/sessman"), (workspace.target.clone(), "/target")];
    let mut sources: Vec<PathBuf> = crates.iter().filter_map(Crate::registry).collect();
    sources.sort();
    sources.dedup();
    renamed.extend(sources.into_iter().map(|folder| (folder, "/registry")));

    let (mut rust, mut c) = (Vec::new(), Vec::new());
    for (path, name) in renamed {
        let path = path.to_str().with_context(|| format!("{} is not text", path.display()))?;
        ensure!(!path.contains([' ', '=']), "{path}: the C compiler takes no space or = in a path");
        rust.push(format!("--remap-path-prefix={path}={name}"));
        c.push(format!("-ffile-prefix-map={path}={name}"));
    }
    let mut cargo = workspace.cargo();
    cargo.env("CARGO_ENCODED_RUSTFLAGS", rust.join("\x1f")).env("CFLAGS", c.join(" "));
    artifacts::build_shipped_with(cargo.arg("build").arg("--locked").arg("--target-dir").arg(&target))?;
    Ok(target.join("release"))
}
