//! The last release that wrote layout 1 only, built from its commit.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::release::succeed;

/// The last commit that wrote layout 1 only.
const COMMIT: &str = "bc3dce84f37cba91b6a23f942ec7afcf1efcc3f5";
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Builds it in a work tree and a target folder of its own below `target`; where its files are. `E2E_LAYOUT_1` names a
/// folder where they are already.
///
/// # Panics
/// When it cannot be built: a shallow clone has no such commit.
pub fn build() -> PathBuf {
    if let Some(built) = std::env::var_os("E2E_LAYOUT_1") {
        return built.into();
    }
    let root = std::path::absolute(ROOT).expect("a path");
    let folder = root.join("target/layout-1");
    let (source, target) = (folder.join("source"), folder.join("target"));
    let mut git = Command::new("git");
    git.current_dir(&root);
    if !source.join("Cargo.toml").exists() {
        fs::create_dir_all(&folder).expect("a folder below target");
        // One whose folder was removed with `target` is still known.
        succeed(Command::new("git").args(["worktree", "prune"]).current_dir(&root));
        succeed(git.args(["worktree", "add", "--detach"]).arg(&source).arg(COMMIT));
    }
    succeed(&mut cargo(&source, &target));
    target.join("release")
}

/// It is to work, not to be fast.
fn cargo(source: &Path, target: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(source).args(["build", "--quiet", "--release", "--locked", "--target-dir"]).arg(target);
    cargo.args(["--package", "pserve", "--package", "sessman-plugin", "--package", "sessctl"]);
    cargo.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    cargo.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
    cargo
}
