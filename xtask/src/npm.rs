//! npm packages that checks and benchmarks need, in a folder of their own.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::succeed;
use crate::tools::{self, Tool};
use crate::workspace::Workspace;

const TOOLS: &[Tool] =
    &[Tool { program: "node", package: "nodejs" }, Tool { program: "npm", package: "npm" }];

/// Installs what the tests of the JavaScript package use, where they find it; without it they say so.
pub(crate) fn install_for_tests(workspace: &Workspace) {
    let source = workspace.root.join("clients/javascript");
    if let Err(error) = install(&source, &workspace.tools().join("javascript")) {
        println!("no npm packages: {error:#}");
    }
}

/// Installs what the lock file in `source` names into `folder` and nowhere else; nothing if that has been done.
pub(crate) fn install(source: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let lock = fs::read_to_string(source.join("package-lock.json"))?;
    // Written last, so that an installation that was cut short is begun anew.
    let stamp = folder.join("installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    tools::ensure(TOOLS)?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(source.join(file), folder.join(file)).with_context(|| file.to_owned())?;
    }
    let mut npm = Command::new("npm");
    // Strict, so that a Node that is too old is named here, and not by tests that fail in odd ways.
    npm.args(["ci", "--engine-strict", "--omit=optional", "--no-audit", "--no-fund", "--ignore-scripts"]);
    succeed(npm.current_dir(folder))?;
    fs::write(&stamp, lock).with_context(|| format!("could not write {}", stamp.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use serde_json::json;

    use super::install;

    fn write(source: &Path, node: &str) {
        let package = json!({ "name": "made-up", "version": "1.0.0", "engines": { "node": node } });
        let lock = json!({ "lockfileVersion": 3, "packages": { "": package.clone() } });
        fs::write(source.join("package.json"), package.to_string()).unwrap();
        fs::write(source.join("package-lock.json"), lock.to_string()).unwrap();
    }

    #[test]
    fn what_a_lock_file_names_is_installed_once_and_a_node_that_is_too_old_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let (source, target) = (folder.path().join("source"), folder.path().join("target"));
        fs::create_dir(&source).unwrap();
        write(&source, ">=1");
        install(&source, &target).unwrap();
        fs::remove_file(target.join("package.json")).unwrap();
        install(&source, &target).unwrap();
        assert!(!target.join("package.json").exists(), "it was installed again");

        write(&source, ">=9999");
        install(&source, &target).unwrap_err();
        install(&source, &target).unwrap_err();
    }
}
