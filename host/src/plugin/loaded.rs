//! What was loaded from the plugin directory, and what was not.

use std::sync::Arc;

use super::instance::Instance;
use super::library::Library;
use crate::config::Problem;

/// The result of loading.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// New instances and kept ones.
    pub(crate) instances: Vec<Arc<Instance>>,
    /// Each has been logged already.
    pub(crate) failures: Vec<Failure>,
    /// Instances of plugins that are not installed. Each has been logged already.
    pub(crate) missing: Vec<Failure>,
    /// Sections of the INI file that have no effect; one line each. Each has been logged already.
    pub(crate) unused: Vec<String>,
    /// Files in the directory that are not plugins.
    pub(crate) others: Vec<Failure>,
    /// Every plugin file, by its name, with its library.
    pub(crate) files: Vec<(String, Arc<Library>)>,
}

/// A plugin file or an instance that does not serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The file's or the instance's name.
    pub(crate) name: String,
    /// Where the instance would be mounted; none for a file.
    pub(crate) mount: Option<String>,
    /// Why, in one line.
    pub(crate) reason: String,
}

impl Failure {
    /// Creates and logs the failure of an instance.
    pub(crate) fn of_instance(name: &str, mount: &str, reason: String) -> Self {
        Self { name: name.to_owned(), mount: Some(mount.to_owned()), reason }.logged()
    }

    /// The failure of an instance whose parameters are wrong.
    pub(super) fn of_parameters(name: &str, problems: &[Problem]) -> Self {
        let reason = problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ");
        Self::of_instance(name, &format!("/{name}"), reason)
    }

    /// Creates and logs the failure of a file.
    pub(super) fn of_file(name: &str, reason: String) -> Self {
        Self { name: name.to_owned(), mount: None, reason }.logged()
    }

    /// The same, after it was logged.
    pub(super) fn logged(self) -> Self {
        tracing::error!(name = self.name, reason = self.reason, "not loaded");
        self
    }
}
