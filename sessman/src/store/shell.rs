//! The shell that a store's own makers give, and how it is started.

use std::ffi::OsString;

use crate::secret::Secret;

/// A program to look into a store with. Its arguments, which others of the machine can see, hold no password.
#[derive(Debug, Clone)]
pub struct Shell {
    /// The program's name.
    pub program: &'static str,
    /// What to install where it is missing.
    pub install: &'static str,
    /// What it is started with; a command of the user's may follow.
    pub arguments: Vec<OsString>,
    /// Variables that are set for it alone.
    pub environment: Vec<(&'static str, Secret)>,
}
