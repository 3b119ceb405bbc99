//! Python packages that the checks need, in a folder of their own.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::succeed;
use crate::tools::{self, Tool};

/// What the end to end tests use. Each has a file of requirements and a folder of its name.
const END_TO_END: [&str; 4] = ["deploy", "prometheus-client", "schemathesis", "traefik"];

/// Installs what the end to end tests use into `tools`, where they find it; those that need one that is missing say so.
pub(crate) fn install_all(tools: &Path) {
    for package in END_TO_END {
        if let Err(error) = install(&format!("{package}.txt"), &tools.join(package)) {
            println!("no {package}: {error:#}");
        }
    }
}

/// Installs what `requirements` lists, a file beside this program's `Cargo.toml` with pinned versions and hashes,
/// into `folder` and nowhere else; nothing if that has been done.
pub(crate) fn install(requirements: &str, folder: &Path) -> Result<()> {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join(requirements);
    let wanted = fs::read_to_string(&requirements)
        .with_context(|| format!("could not read {}", requirements.display()))?;
    // Written last, so that an installation that was cut short is begun anew.
    let stamp = folder.join("installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    tools::ensure(&[
        Tool { program: "python3", package: "python3" },
        Tool { program: "pip3", package: "python3-pip" },
    ])?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes"]);
    pip.args(["--root-user-action", "ignore", "--upgrade", "--target"]).arg(folder);
    succeed(pip.arg("--requirement").arg(requirements))?;
    fs::write(&stamp, wanted).with_context(|| format!("could not write {}", stamp.display()))
}
