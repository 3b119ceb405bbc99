//! The files that ship, and the plugins that only the tests load.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process::succeed;
use crate::workspace::Workspace;

/// The host, the program for administrators, and the plugins that are installed beside the host, by package name.
const HOST: &str = "pserve";
const ADMINISTRATION: &str = "sessctl";
const SHIPPED_PLUGINS: &[&str] = &["sessman-plugin", "files"];

/// Builds what ships in the release profile.
///
/// Running and testing share this one command line: cargo unites the features of everything it builds together, so
/// that a `--workspace` build, with the tests' own dependencies in it, could pass where the shipped files fail.
pub(crate) fn build_shipped(workspace: &Workspace) -> Result<()> {
    build_shipped_with(workspace.cargo().arg("build"))
}

/// As [`build_shipped`], by a `cargo build` with arguments of its own.
pub(crate) fn build_shipped_with(build: &mut Command) -> Result<()> {
    succeed(build.arg("--release").args(package_arguments())).context("the shipped files could not be built")
}

/// What names to cargo the packages that ship.
pub(crate) fn package_arguments() -> impl Iterator<Item = &'static str> {
    let packages = [HOST, ADMINISTRATION].into_iter().chain(SHIPPED_PLUGINS.iter().copied());
    packages.flat_map(|package| ["--package", package])
}

/// The profile of `cargo xtask run`, which is built fast rather than fast.
const QUICK_PROFILE: [&str; 5] = [
    "profile.quick.inherits='release'",
    "profile.quick.opt-level=0",
    "profile.quick.lto=false",
    "profile.quick.codegen-units=16",
    "profile.quick.incremental=true",
];

/// Where [`build_served`] puts what it builds.
pub(crate) fn quick_folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("quick")
}

/// Builds what a host serves.
pub(crate) fn build_served(workspace: &Workspace) -> Result<()> {
    let packages = [HOST].into_iter().chain(SHIPPED_PLUGINS.iter().copied());
    let mut cargo = workspace.cargo();
    let build = QUICK_PROFILE.iter().fold(&mut cargo, |cargo, line| cargo.args(["--config", line]));
    let build = build.args(["build", "--profile", "quick"]);
    succeed(build.args(packages.flat_map(|package| ["--package", package])))
        .context("the host and its plugins could not be built")
}

/// Builds, in the release profile too, every other plugin of the workspace: the tests load them next to the shipped.
pub(crate) fn build_fixtures(workspace: &Workspace) -> Result<()> {
    for plugin in workspace.plugins.iter().filter(|name| !SHIPPED_PLUGINS.contains(&name.as_str())) {
        // Each alone, as a plugin author would build it, for the reason given above.
        succeed(workspace.cargo().args(["build", "--release", "--package", plugin]))
            .with_context(|| format!("the plugin {plugin} could not be built"))?;
    }
    Ok(())
}

/// Builds the plugins of a project of its own as its author does, and says where they are: a later `cargo build` there
/// replaces them.
pub(crate) fn build_project(project: &Path) -> Result<Vec<PathBuf>> {
    let project = Workspace::at(&std::path::absolute(project)?)?;
    ensure!(!project.plugins.is_empty(), "{} builds no cdylib, which a plugin is", project.root.display());
    succeed(project.cargo().arg("build"))?;
    Ok(project.plugins.iter().map(|name| project.target.join("debug").join(library(name))).collect())
}

/// File names of the shipped plugins, as the release folder and the plugin folder have them.
pub(crate) fn shipped_plugin_files() -> impl Iterator<Item = String> {
    SHIPPED_PLUGINS.iter().map(|package| library(package))
}

fn library(package: &str) -> String {
    let library = package.replace('-', "_");
    format!("{}{library}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX)
}

/// The host's program file, without a folder.
pub(crate) fn host_file() -> String {
    program_file(HOST)
}

/// The program files that ship, without a folder.
pub(crate) fn program_files() -> [String; 2] {
    [HOST, ADMINISTRATION].map(program_file)
}

fn program_file(package: &str) -> String {
    format!("{package}{}", std::env::consts::EXE_SUFFIX)
}
