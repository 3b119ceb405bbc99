//! Prometheus's own tool, which says whether Prometheus takes a file.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::artifacts;

/// Where `cargo xtask` has put it, or the one on PATH.
pub fn find() -> Option<PathBuf> {
    let unpacked = artifacts().join("../tools/promtool/usr/bin/promtool");
    let candidates = [unpacked, PathBuf::from("promtool")];
    candidates.into_iter().find(|path| Command::new(path).arg("--version").output().is_ok())
}

/// Checks a text as `config` or `rules`.
///
/// # Panics
/// When Prometheus would not take it.
pub fn check(promtool: &Path, what: &str, text: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file.yml");
    std::fs::write(&file, text).expect("the file is written");
    let mut promtool = Command::new(promtool);
    // Files that a configuration names are elsewhere.
    let options = if what == "config" { &["--syntax-only"][..] } else { &[] };
    let output = promtool.args(["check", what]).args(options).arg(&file).output().expect("it runs");
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
}
