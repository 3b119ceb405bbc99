//! `cargo xtask dist`: what a release consists of, a tarball and a Debian package.
//!
//! - [`build`]: the programs, with nothing of this machine in them
//! - [`tree`]: the folder that becomes the tarball
//! - [`crates`]: what the programs are made of; [`sbom`], [`licences`]: told to machines, and to lawyers
//! - [`deb`]: the Debian package, of the same files

mod build;
mod crates;
mod deb;
mod licences;
mod sbom;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::process::{output_of, succeed};
use crate::tools;
use crate::workspace::Workspace;

/// `cargo xtask dist`
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Pack `target/release` as it is. This machine's paths stay in the programs, so it is for a look at the packages,
    /// and no release.
    #[arg(long)]
    as_built: bool,

    /// Where the packages are put; `target/dist` unless given.
    #[arg(long, value_name = "FOLDER")]
    into: Option<PathBuf>,
}

/// What is released.
struct Release {
    version: String,
    /// As rustc names it.
    target: String,
    /// Seconds since 1970: the time of everything in the packages, so that they are the same whenever they are made.
    epoch: String,
    /// How hard the packages are compressed, as an option of gzip, xz and dpkg-deb.
    level: &'static str,
}

impl Release {
    fn of(workspace: &Workspace, as_built: bool) -> Result<Self> {
        let rustc = output_of(Command::new("rustc").arg("-vV").current_dir(&workspace.root))?;
        let target = rustc.lines().find_map(|line| line.strip_prefix("host: "));
        let epoch = match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(epoch) => epoch,
            Err(_) => output_of(workspace.git().args(["log", "-1", "--format=%ct"]))
                .context("the time of the last commit is not known; set SOURCE_DATE_EPOCH")?,
        };
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            target: target.context("rustc names no host")?.to_owned(),
            epoch: epoch.trim().to_owned(),
            level: if as_built { "1" } else { "6" },
        })
    }

    /// Of the folder in the tarball, and of the tarball.
    fn name(&self) -> String {
        format!("sessman-{}-{}", self.version, self.target)
    }
}

/// Builds, lays out and packs.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    let packages = make(&workspace, options.as_built, options.into.as_deref())?;
    for package in &packages {
        println!("made {}", package.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the packages, and says where they are.
pub(crate) fn make(workspace: &Workspace, as_built: bool, into: Option<&Path>) -> Result<Vec<PathBuf>> {
    tools::ensure(tools::PACKING)?;
    let release = Release::of(workspace, as_built)?;
    let into = std::path::absolute(into.unwrap_or(&workspace.target.join("dist")))?;
    let crates = crates::shipped(workspace)?;
    let built = if as_built { workspace.release() } else { build::portable(workspace, &crates)? };

    // Made anew, so that nothing of an earlier release is packed. Not in `into`, which may hold what is none of ours.
    let laid_out = workspace.target.join(if as_built { "dist-tree-as-built" } else { "dist-tree" });
    for folder in [&into, &laid_out] {
        fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
    }
    fs::remove_dir_all(&laid_out)?;
    let tree = laid_out.join(release.name());
    tree::lay_out(workspace, &built, &tree)?;
    fs::write(tree.join("sbom.cdx.json"), sbom::text(&release, &crates)?)?;
    fs::write(tree.join("THIRD-PARTY-LICENSES.txt"), licences::text(&crates)?)?;
    checksums(&tree)?;

    let tarball = into.join(format!("{}.tar.gz", release.name()));
    pack(&tree, &tarball, &release)?;
    let deb = deb::pack(workspace, &release, &tree, &laid_out.join("deb"), &into)?;
    fs::remove_dir_all(&laid_out)?;
    let packages = vec![tarball, deb];
    let mut sums = Command::new("sha256sum");
    for package in &packages {
        sums.arg(package.file_name().context("a package without a name")?);
    }
    fs::write(into.join("SHA256SUMS"), output_of(sums.current_dir(&into))?)?;
    Ok(packages)
}

/// `SHA256SUMS` of all files in a folder.
fn checksums(folder: &Path) -> Result<()> {
    let list = r"find . -type f ! -name SHA256SUMS -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum > SHA256SUMS";
    succeed(Command::new("bash").args(["-o", "pipefail", "-euc", list]).current_dir(folder))
}

/// The same bytes for the same files: names in order, one time, one owner.
fn pack(tree: &Path, tarball: &Path, release: &Release) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.args([
        "--sort=name",
        "--format=gnu",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--mode=u=rwX,go=rX",
    ]);
    tar.arg(format!("--mtime=@{}", release.epoch))
        .arg("--use-compress-program")
        .arg(format!("gzip -n -{}", release.level));
    tar.arg("--create").arg("--file").arg(tarball);
    tar.arg("--directory").arg(tree.parent().context("a tree without a folder")?).arg(release.name());
    succeed(&mut tar)
}
