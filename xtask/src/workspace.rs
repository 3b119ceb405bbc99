//! The project's own folder, its members, and a cargo that works on them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Where things are, as cargo itself says.
pub(crate) struct Workspace {
    /// The folder of the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// The one target folder that every build shares (`target`, unless `CARGO_TARGET_DIR` says otherwise).
    pub(crate) target: PathBuf,
    /// Names of the members that build a cdylib, which in this workspace means a plugin.
    pub(crate) plugins: Vec<String>,
}

impl Workspace {
    /// Asks `cargo metadata`.
    pub(crate) fn find() -> Result<Self> {
        Self::at(Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no parent folder")?)
    }

    /// As [`find`](Self::find), of another project.
    pub(crate) fn at(root: &Path) -> Result<Self> {
        let metadata = metadata(root, &root.join("Cargo.toml"))?;
        let target =
            metadata["target_directory"].as_str().context("cargo metadata names no target directory")?;
        Ok(Self { root: root.to_owned(), target: target.into(), plugins: plugins(&metadata) })
    }

    /// A cargo command on this workspace.
    pub(crate) fn cargo(&self) -> Command {
        cargo_in(&self.root)
    }

    /// A git command on this workspace.
    pub(crate) fn git(&self) -> Command {
        let mut git = Command::new("git");
        git.current_dir(&self.root);
        git
    }

    /// Where the release profile's files end up.
    pub(crate) fn release(&self) -> PathBuf {
        self.target.join("release")
    }

    /// What this program keeps from one call to the next: tools it installed, servers it prepared.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }
}

fn metadata(root: &Path, manifest: &Path) -> Result<Value> {
    let output = cargo_in(root)
        .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
        .arg(manifest)
        .output()
        .with_context(|| format!("cargo metadata could not be started for {}", manifest.display()))?;
    ensure!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")
}

/// A cargo command on another workspace.
pub(crate) fn cargo_in(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    // `cargo run` describes xtask to xtask in these. Build scripts that ask to be run again when one of them changes
    // (ring's does) would be, with all that depends on them, each time plain cargo and xtask take turns.
    for (name, _) in std::env::vars_os() {
        let described = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| described.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command
}

fn plugins(metadata: &Value) -> Vec<String> {
    let is_cdylib = |target: &Value| {
        target["kind"]
            .as_array()
            .is_some_and(|kinds| kinds.iter().any(|kind| kind.as_str() == Some("cdylib")))
    };
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    packages
        .iter()
        .filter(|package| package["targets"].as_array().is_some_and(|targets| targets.iter().any(is_cdylib)))
        .filter_map(|package| package["name"].as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::plugins;

    #[test]
    fn a_member_with_a_cdylib_is_a_plugin_and_no_other() {
        let metadata = json!({"packages": [
            {"name": "engine", "targets": [{"kind": ["lib"]}, {"kind": ["test"]}]},
            {"name": "greeter", "targets": [{"kind": ["cdylib", "rlib"]}]},
            {"name": "host", "targets": [{"kind": ["bin"]}]},
        ]});
        assert_eq!(plugins(&metadata), ["greeter"]);
    }
}
