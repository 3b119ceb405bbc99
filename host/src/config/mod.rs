//! From an INI file and the environment to a checked [`Config`].
//!
//! `ini` (grammar) with `swallowed` -> `layers` (file below, environment above) -> `raw` (texts, references) -> `reader` (types,
//! defaults, rules) with `doubtful` (what is to be warned of). A [`Config`] exists only if nothing was wrong.

mod doubtful;
mod ini;
mod interpolation;
mod json5;
mod layers;
mod origins;
mod overrides;
mod plugin_parms;
mod problem;
mod proxies;
mod raw;
mod reader;
mod secret;
mod secret_file;
mod sections;
mod swallowed;
#[cfg(test)]
mod tests;
pub(crate) mod tls;
mod values;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};
use tracing::Level;

pub use self::ini::{Document, Entry, Section, SyntaxError, parse as parse_ini};
pub use self::origins::{Cors, Origins};
pub use self::plugin_parms::{AuthType, InstanceConfig, InstanceLine};
pub use self::problem::{ConfigError, Problem};
pub use self::proxies::Proxies;
pub(crate) use self::secret::LEAST_KEY;
pub use self::secret::{ApiKey, ApiKeys, Parameters};
pub(crate) use self::sections::SECTIONS;
pub use self::tls::Tls;

use self::layers::{IniFile, IniFormat};
use self::raw::{RawConfig, Resolver};
use self::reader::Reader;
use crate::trust;

/// A configuration in which nothing is wrong.
#[derive(Debug)]
pub struct Config {
    /// Where to listen.
    pub network: Network,
    /// What a TLS handshake needs, if `[ssl]` is enabled.
    pub tls: Option<Tls>,
    /// Files and folders.
    pub paths: Paths,
    /// The host's own keys.
    pub auth: Auth,
    /// The pages of other origins that are let in, if `[cors]` is enabled.
    pub cors: Option<Cors>,
    /// The proxies that are trusted.
    pub proxies: Proxies,
    /// What one client may take.
    pub limits: Limits,
    /// What is logged where.
    pub log: Log,
    /// The lines of `[plugin_parms]`.
    pub instances: Vec<InstanceLine>,
    /// Values that are what is written, and perhaps not what was meant.
    pub warnings: Vec<Problem>,
    /// Lines of the file that an environment variable stands in for; of keys there is a warning.
    pub notes: Vec<Problem>,
}

/// `[network]`
#[derive(Debug)]
pub struct Network {
    /// The address to listen on; port 0 takes any free one.
    pub address: SocketAddr,
    /// A Unix socket to listen on as well.
    pub unix_socket: Option<PathBuf>,
    /// Worker threads; `None` is one a processor.
    pub threads: Option<usize>,
}

/// `[paths]`, made absolute against the folder of the file that names them.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The folder of the plugin files.
    pub plugins: PathBuf,
    /// The folder in which plugins keep their files.
    pub state: PathBuf,
    /// The file that holds the process id while the host runs.
    pub pidfile: Option<PathBuf>,
}

/// `[auth]`
#[derive(Debug)]
pub struct Auth {
    /// The host's keys; empty if there is none.
    pub keys: ApiKeys,
    /// Whether a key may come as `?apikey=`.
    pub allow_query_key: bool,
}

/// `[limits]`
#[derive(Debug)]
pub struct Limits {
    /// Bytes of a request body.
    pub max_body: usize,
    /// Until the headers of a request are complete.
    pub header_timeout: Duration,
    /// Until the answer to a request is there.
    pub request_timeout: Duration,
    /// That a connection may idle between two requests.
    pub keepalive_timeout: Duration,
    /// Open connections.
    pub max_connections: usize,
    /// Requests being answered.
    pub max_in_flight: usize,
    /// Bytes of memory that the process may take.
    pub max_memory: u64,
    /// That requests get to end when the host stops.
    pub shutdown_grace: Duration,
}

/// `[log]`
#[derive(Debug)]
pub struct Log {
    /// The least level that is logged.
    pub level: Level,
    /// One line of text or one JSON object an event.
    pub format: LogFormat,
    /// File to append to; `None` is standard error.
    pub file: Option<PathBuf>,
    /// Whether each request is logged.
    pub access: bool,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl Config {
    /// Reads the INI file at `path` and the process's environment.
    ///
    /// # Errors
    /// The file cannot be read, or everything that is wrong in it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_with(path, std::env::vars_os().collect())
    }

    /// Like [`Config::load`], with `environment` instead of the process's.
    ///
    /// # Errors
    /// The file cannot be read, or everything that is wrong in it.
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

    /// Like [`Config::load_with`], of a `text` that is in no file; `name` stands for it in messages, and paths in it begin
    /// in `folder`.
    ///
    /// # Errors
    /// Everything that is wrong in it.
    pub fn parse(
        name: &str,
        text: String,
        environment: Vec<(OsString, OsString)>,
        folder: &Path,
    ) -> Result<Self, ConfigError> {
        Reader::new(name, text, environment, folder)?.config()
    }
}

/// Reads a plugin's JSON file, beside an INI file whose lines it may refer to.
///
/// # Errors
/// One message for each thing that is wrong with the JSON file.
pub fn parse_json(
    json: &str,
    ini: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Map<String, Value>, Vec<String>> {
    let file = IniFile { name: "ini".into(), text: ini.into(), format: IniFormat::default() };
    let merged = layers::merged(&[&file]).map_err(|error| vec![error.to_string()])?;
    let raw = RawConfig::from_layers(merged, &file.name);
    let files = &|path: &str| Err(format!("{path} is not read here"));
    plugin_parms::json(json, &Resolver { raw: &raw, environment, files })
}

/// Reads the name of a log level.
pub fn parse_level(text: &str) -> Option<Level> {
    match text.trim().to_ascii_lowercase().as_str() {
        "error" => Some(Level::ERROR),
        "warn" | "warning" => Some(Level::WARN),
        "info" => Some(Level::INFO),
        "debug" => Some(Level::DEBUG),
        "trace" => Some(Level::TRACE),
        _ => None,
    }
}

/// The instance of a plugin that has no line of its own.
pub fn instance_without_line(plugin: &str) -> InstanceConfig {
    plugin_parms::without_line(plugin)
}

/// The known name nearest to `name`, if one is near enough to be a likely slip.
pub(crate) fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    settings::nearest(name, known.iter().map(String::as_str))
}
