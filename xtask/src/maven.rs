//! Java libraries that checks need, in folders of their own.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::succeed;
use crate::tools::{self, Tool};
use crate::workspace::Workspace;

/// What fetches and compiles.
pub(crate) const TOOLS: &[Tool] =
    &[Tool { program: "javac", package: "default-jdk-headless" }, Tool { program: "mvn", package: "maven" }];

/// Copies what `pom` lists into `folder`.
///
/// # Errors
/// Maven's.
pub(crate) fn fetch(pom: &Path, folder: &Path) -> Result<()> {
    let fetch = || {
        let mut maven = Command::new("mvn");
        maven.args(["--quiet", "--batch-mode", "--file"]).arg(pom);
        maven.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
        succeed(maven.arg(format!("-DoutputDirectory={}", folder.display())))
    };
    // Maven gives up on the first connection that breaks; what it has fetched by then, it keeps.
    fetch().or_else(|_| fetch())
}

/// Installs what generated Java clients are compiled with, where their test finds it; without it it says so.
pub(crate) fn install_for_tests(workspace: &Workspace) {
    let (pom, folder) =
        (workspace.root.join("tests/generated/pom.xml"), workspace.tools().join("generated-java"));
    if let Err(error) = install(&pom, &folder) {
        println!("no libraries for generated Java clients: {error:#}");
    }
}

/// Installs what `pom` lists into `folder` and nowhere else; nothing if that has been done.
fn install(pom: &Path, folder: &Path) -> Result<()> {
    let wanted = fs::read_to_string(pom).with_context(|| format!("could not read {}", pom.display()))?;
    // Written last, so that an installation that was cut short is begun anew.
    let stamp = folder.join("installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    tools::ensure(TOOLS)?;
    fs::create_dir_all(folder)?;
    fetch(pom, folder)?;
    fs::write(&stamp, wanted).with_context(|| format!("could not write {}", stamp.display()))
}
