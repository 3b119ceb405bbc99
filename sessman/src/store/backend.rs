//! A kind of store before it is open: its keys of `sessman.json`, and its properties.

use std::any::Any;
use std::fmt;
use std::io;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use settings::Problem;

use super::Store;
use super::error::Result;
use super::shell::Shell;
use crate::budget::Budget;
use crate::config::Surroundings;
use crate::time::Clock;

/// A store that is configured but not open: the checked values of its keys, and the properties of its kind.
pub trait Backend: Any + fmt::Debug + Send + Sync {
    /// Its name, as in the key `backend`.
    fn name(&self) -> &'static str;

    /// Opens it, for [`open`](super::open). Expiry is checked by `clock`, the engine's clock. Memory is charged to `budget`.
    ///
    /// # Errors
    /// What is wrong, with the remedy.
    fn open(&self, clock: &Arc<dyn Clock>, budget: &Arc<dyn Budget>) -> Result<Arc<dyn Store>>;

    /// Opens it read-only, for [`open_to_read`](super::open_to_read).
    ///
    /// # Errors
    /// As for [`open`](Self::open); a [`Private`](Sharing::Private) one always fails.
    fn open_to_read(&self, view: View) -> Result<Arc<dyn Store>>;

    /// Kind and location in a few words, without secrets.
    fn describe(&self) -> String;

    /// Whether both name the same place in the same spelling. Aliases of a server are not resolved.
    fn is_same_place(&self, other: &dyn Backend) -> bool;

    /// Which processes can see its sessions.
    fn sharing(&self) -> Sharing;

    /// Creates what must exist before it is opened, as a start of `pserve` does: folders.
    ///
    /// # Errors
    /// The file system's.
    fn prepare(&self) -> io::Result<()> {
        Ok(())
    }

    /// The command-line client for it; `None` where there is none.
    ///
    /// # Errors
    /// A problem of the configuration. There is none in one that was [checked](crate::config::Config::read).
    fn shell(&self) -> std::result::Result<Option<Shell>, Problem>;

    /// Settings that may be intended, each with its consequence, one line each.
    fn hints(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Threads that it occupies on a tokio runtime.
    fn threads(&self) -> usize {
        1
    }

    /// Whether it deletes expired records itself.
    fn removes_by_itself(&self) -> bool {
        false
    }
}

impl dyn Backend {
    /// The configuration as its concrete type, if it is that type.
    pub fn downcast_ref<T: Backend>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }
}

/// Which processes can see the sessions of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Only the process that holds them, for its lifetime.
    Private,
    /// One process owns and writes them; others can read.
    Owned,
    /// Any number of processes, all of which write.
    Shared,
}

/// Which state of an [`Owned`](Sharing::Owned) store a read-only process sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The current state, at each call.
    Present,
    /// The state at the time it was opened.
    Snapshot,
}

/// The raw keys of a backend, as written: a struct with a field for each, all of which have a default.
pub(crate) trait BackendKeys: DeserializeOwned {
    /// The name of the backend.
    const NAME: &'static str;

    /// The checked configuration.
    type Backend: Backend;

    /// Whether a configuration without the key `backend` means this backend.
    fn fit(server_url: Option<&str>) -> Fit;

    /// Checks the keys. Opens no file and connects to no server.
    ///
    /// # Errors
    /// What is wrong with each key, without secrets.
    fn check(self, surroundings: &Surroundings<'_>) -> std::result::Result<Self::Backend, Vec<Problem>>;
}

/// How well a `server_url`, or its absence, fits a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// No other backend can have it.
    Certain,
    /// The backend's, unless it is certain for another one.
    Possible,
    /// Not the backend's.
    Not,
}
