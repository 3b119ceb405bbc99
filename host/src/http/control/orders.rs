//! What the control routes and signals have done to the plugins that are loaded.

use std::fmt;

use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::plugin::Failure;

/// Something to do, and who waits for it.
pub(crate) struct Order {
    pub(crate) task: Task,
    pub(crate) reply: Option<oneshot::Sender<Result<Report, OrderError>>>,
}

/// What can be done.
#[derive(Debug)]
pub(crate) enum Task {
    /// Read everything again; what has not changed goes on.
    ReloadAll,
    /// A new instance in the place of this one.
    Reload(String),
    /// An instance that is not loaded.
    Load(String),
    /// No instance of this name.
    Unload(String),
}

/// What was done, by the names of instances.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) reloaded: Vec<String>,
    pub(crate) loaded: Vec<String>,
    pub(crate) unloaded: Vec<String>,
    pub(crate) kept: Vec<String>,
    pub(crate) failed: Vec<Failure>,
    /// Settings that count from the next start only.
    pub(crate) notes: Vec<String>,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderError {
    /// There is nothing of this name.
    #[error("{0}")]
    Unknown(String),
    /// It is not possible now.
    #[error("{0}; nothing was changed")]
    State(String),
    /// The configuration, a plugin or an instance is bad.
    #[error("{0}; nothing was changed")]
    Invalid(String),
}

impl Report {
    /// For the one who asked.
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
