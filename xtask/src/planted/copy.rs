//! The workspace once more, in a folder of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process::output_of;
use crate::workspace::Workspace;

/// Copies what git knows of the workspace, and what it does not ignore, to `root`. What is the same there already stays, with
/// its time, so that it is not built again; what was left there of a fault is overwritten.
///
/// # Errors
/// Git, or a file.
pub(super) fn bring_up_to_date(workspace: &Workspace, root: &Path) -> Result<()> {
    let mut git = workspace.git();
    let listed = output_of(git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]))?;
    let mut kept = BTreeSet::new();
    for name in listed.split_terminator('\0') {
        let (from, to) = (workspace.root.join(name), root.join(name));
        // Removed, and not committed yet.
        if !from.is_file() {
            continue;
        }
        kept.insert(to.clone());
        let good = fs::read(&from).with_context(|| format!("could not read {name}"))?;
        if fs::read(&to).is_ok_and(|there| there == good) {
            continue;
        }
        let folder = to.parent().context("a file without a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
        fs::copy(&from, &to).with_context(|| format!("could not copy {name}"))?;
    }
    remove_others(root, &kept)
}

/// A file that is gone from the workspace may be one that cargo would find.
fn remove_others(folder: &Path, kept: &BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            remove_others(&path, kept)?;
        } else if !kept.contains(&path) {
            fs::remove_file(&path).with_context(|| format!("could not remove {}", path.display()))?;
        }
    }
    Ok(())
}
