//! The shell that a store's own makers give, and how it is started for the configured store.

use std::ffi::OsString;

use crate::config::StoreConfig;
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

impl StoreConfig {
    /// The shell of the configured store; `None` for sessions in memory.
    ///
    /// # Errors
    /// What is wrong with the configuration; one that was [checked](crate::config::Config::read) has nothing wrong.
    pub fn shell(&self) -> Result<Option<Shell>, settings::Problem> {
        match self {
            Self::Memory(_) => Ok(None),
            // Its owner alone writes, and may have to know what was written.
            Self::Sqlite(config) => Ok(Some(Shell {
                program: "sqlite3",
                install: "the package sqlite3",
                arguments: vec!["-readonly".into(), config.path.clone().into()],
                environment: Vec::new(),
            })),
            Self::MongoDb(config) => config.shell().map(Some),
            Self::Redis(config) => config.shell().map(Some),
        }
    }
}
