//! What a configuration comes to.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tracing::Level;

use super::origins::Cors;
use super::plugin_parms::InstanceLine;
use super::problem::Problem;
use super::proxies::Proxies;
use super::secret::ApiKeys;
use super::tls::Tls;

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
