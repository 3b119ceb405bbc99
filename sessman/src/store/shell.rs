//! The command-line client of a store, and how to start it.

use std::ffi::OsString;

use crate::secret::Secret;

/// A command-line client for a store. Its arguments, which other users of the machine can see, hold no password.
#[derive(Debug, Clone)]
pub struct Shell {
    /// The program's name.
    pub program: &'static str,
    /// What to install if it is missing.
    pub install: &'static str,
    /// Its arguments; a command of the user's may follow.
    pub arguments: Vec<OsString>,
    /// Environment variables set for it alone.
    pub environment: Vec<(&'static str, Secret)>,
}
