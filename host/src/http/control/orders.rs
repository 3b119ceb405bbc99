//! Tasks that the control routes and signals request: to reload, load and unload plugins.

use std::fmt;

use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::plugin::Failure;

/// A task, and who waits for its result.
pub(crate) struct Order {
    pub(crate) task: Task,
    pub(crate) reply: Option<oneshot::Sender<Result<Report, OrderError>>>,
}

/// A change of the loaded instances.
#[derive(Debug)]
pub(crate) enum Task {
    /// Reads everything again; what has not changed is kept.
    ReloadAll,
    /// Replaces this instance with a new one.
    Reload(String),
    /// Loads an instance that is not loaded.
    Load(String),
    /// Unloads this instance.
    Unload(String),
}

/// The result of a task, by the names of instances.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) reloaded: Vec<String>,
    pub(crate) loaded: Vec<String>,
    pub(crate) unloaded: Vec<String>,
    pub(crate) kept: Vec<String>,
    pub(crate) failed: Vec<Failure>,
    /// Settings that take effect only after a restart.
    pub(crate) notes: Vec<String>,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderError {
    /// There is no instance of this name.
    #[error("{0}")]
    Unknown(String),
    /// The task is not possible in the current state.
    #[error("{0}; nothing was changed")]
    State(String),
    /// The configuration, a plugin or an instance is invalid.
    #[error("{0}; nothing was changed")]
    Invalid(String),
}

impl Report {
    /// The report as JSON, for the caller.
    pub(crate) fn to_json(&self) -> Value {
        let failed: Vec<Value> = self
            .failed
            .iter()
            .map(|failure| json!({ "name": failure.name, "reason": failure.reason }))
            .collect();
        json!({
            "reloaded": self.reloaded,
            "loaded": self.loaded,
            "unloaded": self.unloaded,
            "kept": self.kept,
            "failed": failed,
            "notes": self.notes,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (reloaded, loaded, unloaded) = (&self.reloaded, &self.loaded, &self.unloaded);
        write!(f, "reloaded {reloaded:?}, loaded {loaded:?}, unloaded {unloaded:?}, kept {:?}", self.kept)
    }
}
