//! Errors of a command, and exit codes. docs/sessctl.md lists the exit codes.

use std::io::ErrorKind;
use std::process::ExitCode;

use sessman::error::Error as EngineError;
use sessman::store::StoreError;

/// The command was rejected, or found a problem.
const FAILED: u8 = 1;
/// The command line or the configuration is wrong. The same code as that of clap.
const USAGE: u8 = 2;
/// The store, or the running pserve, is unreachable; a retry may succeed.
const AWAY: u8 = 3;

/// The command line or the configuration is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// A running pserve is unreachable.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Away(pub(crate) String);

/// The command failed, and has already printed why.
#[derive(Debug, thiserror::Error)]
#[error("failed")]
pub(crate) struct Said;

/// Prints the error, and returns the exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let is_broken_pipe = |error: &std::io::Error| error.kind() == ErrorKind::BrokenPipe;
    if error.chain().any(|cause| cause.downcast_ref().is_some_and(is_broken_pipe)) {
        // The reader of a pipe closed it, for example `head`.
        return ExitCode::SUCCESS;
    }
    if !error.is::<Said>() {
        eprintln!("sessctl: {error:#}");
    }
    ExitCode::from(code(error))
}

fn code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if cause.is::<Usage>() {
            return USAGE;
        }
        let store = match cause.downcast_ref() {
            Some(EngineError::Store(error)) => Some(error),
            _ => cause.downcast_ref(),
        };
        if cause.is::<Away>() || matches!(store, Some(StoreError::Unavailable(_) | StoreError::Partial(_))) {
            return AWAY;
        }
    }
    FAILED
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    #[test]
    fn each_kind_of_failure_has_its_code() {
        let away = || StoreError::Unavailable("nobody".into());
        assert_eq!(code(&anyhow!("no")), FAILED);
        assert_eq!(code(&StoreError::Full.into()), FAILED);
        assert_eq!(code(&anyhow::Error::from(Usage("no".into())).context("while")), USAGE);
        assert_eq!(code(&anyhow::Error::from(away()).context("while")), AWAY);
        assert_eq!(code(&EngineError::Store(away()).into()), AWAY);
        assert_eq!(code(&Err::<(), _>(Away("no".into())).context("while").unwrap_err()), AWAY);
    }
}
