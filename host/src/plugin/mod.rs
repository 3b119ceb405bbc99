//! Plugins: from files in a directory to serving instances.
//!
//! `copy` (a sealed copy of the file, so that nobody can change it) -> `probe` (tries it in a child process) ->
//! `library` (opens it for the life of the process) -> `instance` (prepared with its parameters) -> `loader` (runs all
//! of these, and collects failures). Only this module holds `unsafe` code.

mod call_order;
mod calls;
mod copy;
mod instance;
mod library;
mod loaded;
mod loader;
mod probe;
mod services;
mod tasks;

pub(crate) use self::call_order::{callers_first, is_in_loop, may_call};
pub(crate) use self::calls::{Calls, Dispatch, OpenedBy, Origin};
pub(crate) use self::instance::{Authentication, CallGuard, Instance, State};
pub(crate) use self::library::Library;
pub(crate) use self::loaded::{Failure, Loaded};
pub(crate) use self::loader::{Loader, Want, plugin_files};
pub use self::probe::child as probe_child;
pub(crate) use self::services::Drawn;
pub(crate) use plugin_api::routing::MountedRoute as Route;

/// Why a plugin or an instance is not serving. Its text is for people: one line, without secrets.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The plugin directory cannot be read.
    #[error("cannot use the plugin directory {} ([paths] plugins)", path.display())]
    Directory {
        /// The directory.
        path: std::path::PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// The plugin file cannot be read, or others may write to it.
    #[error("cannot take the plugin file")]
    Copy(#[source] std::io::Error),
    /// The child process that tries a plugin cannot be started, or communication with it failed.
    #[error("cannot try the plugin in a child process")]
    Child(#[source] std::io::Error),
    /// The child process crashed while it tried the library.
    #[error("the library ended the process that tried it: {0}")]
    Died(String),
    /// The child process did not complete in time.
    #[error("the library did not answer within {} s when it was tried", .0.as_secs())]
    Silent(std::time::Duration),
    /// It is a library that is not a plugin.
    #[error("a library, but not a pserve plugin: it exports no plugin")]
    NoPlugin,
    /// The library or the instance was rejected, for this reason.
    #[error("{0}")]
    Refused(String),
}

impl LoadError {
    /// Whether the file is not a plugin at all, which does not count as a failure.
    pub(crate) fn is_of_no_plugin(&self) -> bool {
        match self {
            Self::NoPlugin => true,
            Self::Copy(error) => error.kind() == std::io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// The error and its sources, in one line.
    pub(crate) fn line(&self) -> String {
        crate::error::one_line(self)
    }
}
