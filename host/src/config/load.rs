//! Loads a configuration from a file, or from text.

use std::ffi::OsString;
use std::path::Path;

use serde_json::{Map, Value};

use super::layers::{self, IniFile, IniFormat};
use super::plugin_parms;
use super::problem::{ConfigError, Problem};
use super::raw::{RawConfig, Resolver};
use super::reader::Reader;
use super::types::Config;
use crate::trust;

impl Config {
    /// Reads the INI file at `path` and the process's environment.
    ///
    /// # Errors
    /// The file cannot be read; or all errors in it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_with(path, std::env::vars_os().collect())
    }

    /// Like [`Config::load`], with `environment` instead of the process's.
    ///
    /// # Errors
    /// The file cannot be read; or all errors in it.
    pub fn load_with(path: &Path, environment: Vec<(OsString, OsString)>) -> Result<Self, ConfigError> {
        let read = |source| ConfigError::Read { path: path.to_owned(), source };
        let bytes = trust::read(path).map_err(read)?;
        let absolute = std::path::absolute(path).map_err(read)?;
        let folder = absolute.parent().unwrap_or(Path::new("/"));
        let name = path.display().to_string();
        let text = String::from_utf8(bytes).map_err(|error| {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            ConfigError::Invalid(vec![Problem::at(format!("{name}:{line}"), "not UTF-8")])
        })?;
        Self::parse(&name, text, environment, folder)
    }

    /// Like [`Config::load_with`], for a `text` that is not in a file. Messages call it `name`, and relative paths in
    /// it start in `folder`.
    ///
    /// # Errors
    /// All errors in it.
    pub fn parse(
        name: &str,
        text: String,
        environment: Vec<(OsString, OsString)>,
        folder: &Path,
    ) -> Result<Self, ConfigError> {
        Reader::new(name, text, environment, folder)?.config()
    }
}

/// The content of a file that belongs to a configuration and that nobody else may change.
///
/// # Errors
/// Who may change it, or that it cannot be read.
pub fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    trust::read(path)
}

/// Reads a plugin's JSON file, with an INI file whose lines it may refer to.
///
/// # Errors
/// One message for each error in the JSON file.
pub fn parse_json(
    json: &str,
    ini: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Map<String, Value>, Vec<String>> {
    let file = IniFile { name: "ini".into(), text: ini.into(), format: IniFormat::default() };
    let merged = layers::merged(&[&file]).map_err(|error| vec![error.to_string()])?;
    let raw = RawConfig::from_layers(merged, &file.name);
    let files = &|path: &str| Err(format!("{path} is not read here"));
    plugin_parms::json(json, &Resolver { raw: &raw, environment, files, referred: Default::default() })
}
