//! The context in which a configuration is read.

use std::path::{Path, PathBuf};

use settings::Problem;

use super::seen;
use crate::secret::Secret;

/// The context in which a configuration is read.
pub struct Surroundings<'a> {
    /// The name of the instance.
    pub instance: &'a str,
    /// The folder for the instance's own files.
    pub state_folder: &'a Path,
    /// Looks an environment variable up.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
}

impl Surroundings<'_> {
    /// Resolves a file name; a relative path is relative to the state folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.state_folder.join(name)
    }

    /// The configured `server_url`, or else that of an environment variable.
    ///
    /// # Errors
    /// Invisible characters in the variable, if it is used.
    pub(crate) fn server_url(
        &self,
        written: Option<String>,
        variable: &str,
    ) -> Result<Option<Secret>, Problem> {
        if let Some(url) = written {
            return Ok(Some(Secret::new(url)));
        }
        let Some(url) = (self.environment)(variable) else { return Ok(None) };
        match seen::check_text(variable, &url) {
            Some(hidden) => Err(hidden),
            None => Ok(Some(Secret::new(url))),
        }
    }
}
