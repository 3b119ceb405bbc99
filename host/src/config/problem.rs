//! Errors of a configuration, for people: place, key and remedy. They quote no values, except addresses of `[proxy]`.

use std::fmt;
use std::path::PathBuf;

/// One error of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `file:line`, the file, or the environment variable.
    pub place: String,
    /// `[section] key`, if it concerns one.
    pub key: Option<String>,
    /// What is wrong and what is expected. It never holds a value that may be a secret.
    pub message: String,
}

impl Problem {
    /// A problem with `[section] key`, written at `place`.
    pub(crate) fn with_key(place: &str, section: &str, key: &str, message: impl Into<String>) -> Self {
        Self { place: place.into(), key: Some(format!("[{section}] {key}")), message: message.into() }
    }

    /// A problem that concerns the place as a whole.
    pub(crate) fn at(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), key: None, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{}: {key}: {}", self.place, self.message),
            None => write!(f, "{}: {}", self.place, self.message),
        }
    }
}

/// An invalid configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The INI file cannot be read.
    #[error("cannot read the configuration file {}", path.display())]
    Read {
        /// The file's name as given.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// All errors in it, one line each.
    #[error("{}", list(.0))]
    Invalid(Vec<Problem>),
}

fn list(problems: &[Problem]) -> String {
    let count = match problems.len() {
        1 => "1 problem in the configuration".to_owned(),
        several => format!("{several} problems in the configuration"),
    };
    problems.iter().fold(count, |text, problem| format!("{text}\n  {problem}"))
}
