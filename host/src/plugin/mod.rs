//! Plugins: from files in a directory to instances that serve.
//!
//! `copy` (the file's bytes, out of reach of who overwrites the file) -> `probe` (a child tries it first) ->
//! `library` (opened here, for the life of the process) -> `instance` (prepared with its parameters) ->
//! `loader` (all of it, with what failed and why). Only this module holds `unsafe` code.

mod copy;
mod instance;
mod library;
mod loader;
mod path;
mod probe;
mod services;

pub(crate) use self::instance::{Authentication, CallGuard, Instance, Route, State};
pub(crate) use self::library::Library;
pub(crate) use self::loader::{Failure, Loaded, Loader, Want};
pub use self::probe::child as probe_child;

/// Why a plugin or an instance does not serve. Its text is for people: one line, without secrets.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The plugin directory cannot be read.
    #[error("cannot use the plugin directory {} ([paths] plugins)", path.display())]
    Directory {
        /// The directory.
        path: std::path::PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The plugin file cannot be read, or others may write to it.
    #[error("cannot take the plugin file")]
    Copy(#[source] std::io::Error),
    /// The child that tries a plugin cannot be started or spoken to.
    #[error("cannot try the plugin in a child process")]
    Child(#[source] std::io::Error),
    /// The library ended the child that tried it.
    #[error("the library ended the process that tried it: {0}")]
    Died(String),
    /// The child did not come to an end.
    #[error("the library did not answer within {} s when it was tried", .0.as_secs())]
    Silent(std::time::Duration),
    /// It is a library of another kind.
    #[error("a library, but not a pserve plugin: it exports no plugin")]
    NoPlugin,
    /// The library or the instance was refused, for this reason.
    #[error("{0}")]
    Refused(String),
}

impl LoadError {
    /// Whether it is about something else than a plugin, which keeps nothing from being served.
    pub(crate) fn is_of_no_plugin(&self) -> bool {
        match self {
            Self::NoPlugin => true,
            Self::Copy(error) => error.kind() == std::io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// The error and what it comes from, in one line.
    pub(crate) fn line(&self) -> String {
        crate::error::one_line(self)
    }
}
