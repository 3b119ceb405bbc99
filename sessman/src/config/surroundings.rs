//! What a configuration is read beside.

use std::path::{Path, PathBuf};

use settings::Problem;

use super::seen;
use crate::secret::Secret;

/// What a configuration is read beside.
pub struct Surroundings<'a> {
    /// The name of the instance.
    pub instance: &'a str,
    /// The folder for files of its own.
    pub state_folder: &'a Path,
    /// Looks an environment variable up.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
}

impl Surroundings<'_> {
    /// A file of that name; a relative path begins in the state folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.state_folder.join(name)
    }

    /// The `server_url` that is written, or else that of an environment variable.
    ///
    /// # Errors
    /// What is hidden in the variable, where it counts.
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
