//! The validated configuration.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tracing::Level;

use super::documents::FILES;
use super::origins::Cors;
use super::own_section::OwnSection;
use super::plugin_parms::{InstanceLine, without_line};
use super::problem::Problem;
use super::proxies::Proxies;
use super::secret::ApiKeys;
use super::tls::Tls;

/// A valid configuration.
#[derive(Debug)]
pub struct Config {
    /// Where to listen.
    pub network: Network,
    /// What a TLS handshake needs, if `[ssl]` is enabled.
    pub tls: Option<Tls>,
    /// Files and directories.
    pub paths: Paths,
    /// The host's own keys.
    pub auth: Auth,
    /// The other origins that are allowed, if `[cors]` is enabled.
    pub cors: Option<Cors>,
    /// The proxies that are trusted.
    pub proxies: Proxies,
    /// Limits of resources and times.
    pub limits: Limits,
    /// Settings of the log.
    pub log: Log,
    /// The lines of `[plugin_parms]`, and the instance that `documents` stands for.
    pub instances: Vec<InstanceLine>,
    /// The sections that are neither the host's nor those of `instances`.
    pub sections: Vec<OwnSection>,
    /// Values that are valid, but probably not what was intended.
    pub warnings: Vec<Problem>,
    /// Lines of the file that an environment variable overrides; overridden keys are warnings instead.
    pub notes: Vec<Problem>,
}

impl Config {
    /// The instance of a plugin that no line names: that of the section with its name, or one without parameters. None
    /// for the plugin that serves files, which is there wherever it is installed, and has nothing to serve.
    pub fn instance_without_line(&self, plugin: &str) -> Option<InstanceLine> {
        let name = plugin.to_lowercase();
        if let Some(section) = self.sections.iter().find(|section| section.name == name) {
            return Some(section.instance.clone());
        }
        (plugin != FILES).then(|| InstanceLine {
            name,
            json_files: Vec::new(),
            config: Ok(without_line(plugin)),
        })
    }
}

/// `[network]`
#[derive(Debug)]
pub struct Network {
    /// The address to listen on; port 0 lets the system choose one.
    pub address: SocketAddr,
    /// A Unix socket to listen on as well.
    pub unix_socket: Option<PathBuf>,
    /// Worker threads; `None` means one per processor.
    pub threads: Option<usize>,
}

/// `[paths]`, made absolute relative to the directory of the file that contains them.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The directory of the plugin files.
    pub plugins: PathBuf,
    /// The directory in which plugins keep their files.
    pub state: PathBuf,
    /// The file that holds the process id while the host runs.
    pub pidfile: Option<PathBuf>,
}

/// `[auth]`
#[derive(Debug)]
pub struct Auth {
    /// The host's keys; empty if there is none.
    pub keys: ApiKeys,
    /// The keys that open `/metrics` and nothing else; empty if there is none.
    pub metrics_keys: ApiKeys,
    /// Whether a key is accepted as `?apikey=`.
    pub allow_query_key: bool,
}

/// `[limits]`
#[derive(Debug)]
pub struct Limits {
    /// Limit of a request's body, in bytes.
    pub max_body: usize,
    /// Timeout until the headers of a request are complete.
    pub header_timeout: Duration,
    /// Timeout until a request is answered.
    pub request_timeout: Duration,
    /// How long a connection may idle between two requests.
    pub keepalive_timeout: Duration,
    /// Limit of open connections.
    pub max_connections: usize,
    /// Limit of requests that are answered concurrently.
    pub max_in_flight: usize,
    /// Limit of the process's memory, in bytes.
    pub max_memory: u64,
    /// How long requests may take to complete when the host stops.
    pub shutdown_grace: Duration,
}

/// `[log]`
#[derive(Debug)]
pub struct Log {
    /// The lowest level that is logged.
    pub level: Level,
    /// The format of log lines.
    pub format: LogFormat,
    /// File to append to; `None` is standard error.
    pub file: Option<PathBuf>,
    /// Whether each request is logged.
    pub access: bool,
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people, one line per event.
    Text,
    /// JSON for programs, one object per event.
    Json,
}
