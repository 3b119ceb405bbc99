//! What there is to know of a kind of store before one of it is open: its keys of `sessman.json`, and what they come to.

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

/// A store that is configured, and not open: the checked values of its keys, and all that is said of its kind.
pub trait Backend: Any + fmt::Debug + Send + Sync {
    /// Its name, as the key `backend` has it.
    fn name(&self) -> &'static str;

    /// Opens it, for [`open`](super::open). By `clock`, which is that of the engine, a session lives or not; memory is
    /// drawn on `budget`.
    ///
    /// # Errors
    /// What is wrong and what to do about it.
    fn open(&self, clock: &Arc<dyn Clock>, budget: &Arc<dyn Budget>) -> Result<Arc<dyn Store>>;

    /// Opens it to read from, for [`open_to_read`](super::open_to_read).
    ///
    /// # Errors
    /// As those of [`open`](Self::open), and for a [`Private`](Sharing::Private) one in any case.
    fn open_to_read(&self, view: View) -> Result<Arc<dyn Store>>;

    /// What it is and where, in a few words, without a secret.
    fn describe(&self) -> String;

    /// Whether both are one place, written alike. Servers may have several names, which are not looked into.
    fn is_same_place(&self, other: &dyn Backend) -> bool;

    /// Which processes can see its sessions.
    fn sharing(&self) -> Sharing;

    /// Makes what is to be there before it is opened, and what a start of `pserve` makes too: folders.
    ///
    /// # Errors
    /// The file system's.
    fn prepare(&self) -> io::Result<()> {
        Ok(())
    }

    /// The shell to look into it with; `None` where there is none.
    ///
    /// # Errors
    /// What is wrong with the configuration; one that was [checked](crate::config::Config::read) has nothing wrong.
    fn shell(&self) -> std::result::Result<Option<Shell>, Problem>;

    /// What of the configuration may be meant, and what comes of it, a line each.
    fn hints(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Threads that its work on a tokio runtime needs.
    fn threads(&self) -> usize {
        1
    }

    /// Whether it removes expired records by itself.
    fn removes_by_itself(&self) -> bool {
        false
    }
}

impl dyn Backend {
    /// The checked values of the keys, if they are of that type.
    pub fn downcast_ref<T: Backend>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }
}

/// Which processes can see the sessions of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// The one that they are in, as long as it lives.
    Private,
    /// One owns them, and others read beside it.
    Owned,
    /// Any number, all of which write.
    Shared,
}

/// Which state of an [`Owned`](Sharing::Owned) store is read beside its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// At each call what is there then.
    Present,
    /// At each call what was there when it was opened.
    Snapshot,
}

/// The keys of a backend as they are written: a struct with a field for each, all of which have a default.
pub(crate) trait BackendKeys: DeserializeOwned {
    /// The name of the backend.
    const NAME: &'static str;

    /// What they come to.
    type Backend: Backend;

    /// Whether the backend is meant where the key `backend` does not say.
    fn fit(server_url: Option<&str>) -> Fit;

    /// Checks them. No file is opened and no server reached.
    ///
    /// # Errors
    /// What is wrong with each key, without a secret.
    fn check(self, surroundings: &Surroundings<'_>) -> std::result::Result<Self::Backend, Vec<Problem>>;
}

/// How a `server_url`, or none, fits a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It can be no other's.
    Certain,
    /// It may be the backend's, if it is no other's for certain.
    Possible,
    /// It is not the backend's.
    Not,
}
