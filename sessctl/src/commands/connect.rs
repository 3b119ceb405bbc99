//! `connect`: replaces this process by the store's command-line client.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Result, anyhow};

use crate::actor;
use crate::failure::Usage;
use crate::site::Site;

pub(super) fn run(site: &Site, arguments: &[OsString]) -> Result<()> {
    actor::in_a_process_of_its_own(site)?;
    let shell = site.config.store.shell().map_err(|problem| Usage(problem.to_string()))?;
    let Some(shell) = shell else { return Ok(()) };
    let mut command = Command::new(shell.program);
    command.args(&shell.arguments).args(arguments);
    for (name, value) in &shell.environment {
        command.env(name, value.expose());
    }
    // `exec` returns only on failure: the program is missing.
    let error = command.exec();
    Err(match error.kind() {
        ErrorKind::NotFound => anyhow!("{} is not installed; install {}", shell.program, shell.install),
        _ => anyhow!("{} cannot be started: {error}", shell.program),
    })
}
