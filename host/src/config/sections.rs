//! The keys of each section, in one place each: a `serde` struct is the list of a section's keys and of their
//! types. `settings::read` takes the names from it for its errors.

use serde::Deserialize;
use settings::loose::{OneOrMany, option};

/// Every section's name. `plugin_parms` holds one line an instance instead of fixed keys.
pub(crate) const SECTIONS: &[&str] =
    &["network", "ssl", "paths", "auth", "cors", "proxy", "limits", "log", PLUGIN_PARMS];
/// The section with one line an instance.
pub(crate) const PLUGIN_PARMS: &str = "plugin_parms";

/// `[network]`
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct NetworkSection {
    /// IP address, or `localhost`.
    #[serde(deserialize_with = "option")]
    pub(crate) bindto: Option<String>,
    /// 0 takes any free port and prints it.
    #[serde(deserialize_with = "option")]
    pub(crate) port: Option<u16>,
    /// A Unix socket to listen on as well.
    #[serde(deserialize_with = "option")]
    pub(crate) unix_socket: Option<String>,
    /// Worker threads; 0 is one a processor.
    #[serde(deserialize_with = "option")]
    pub(crate) threads: Option<usize>,
}

/// `[ssl]`
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct SslSection {
    /// Whether `bindto` and `port` speak TLS.
    #[serde(deserialize_with = "option")]
    pub(crate) enabled: Option<bool>,
    /// PEM file of the certificate and those between it and the root.
    #[serde(deserialize_with = "option")]
    pub(crate) certfile: Option<String>,
    /// PEM file of its key.
    #[serde(deserialize_with = "option")]
    pub(crate) keyfile: Option<String>,
    /// `1.2` or `1.3`.
    #[serde(deserialize_with = "option")]
    pub(crate) min_version: Option<String>,
}

/// `[paths]`
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct PathsSection {
    /// Directory of the plugin files.
    #[serde(deserialize_with = "option")]
    pub(crate) plugins: Option<String>,
    /// Directory in which plugins keep their files.
    #[serde(deserialize_with = "option")]
    pub(crate) state: Option<String>,
    /// File that holds the process id while the host runs.
    #[serde(deserialize_with = "option")]
    pub(crate) pidfile: Option<String>,
}

/// `[auth]`
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct AuthSection {
    /// One key, or `list:` of several.
    pub(crate) apikey: Option<OneOrMany>,
    /// Whether `?apikey=` counts.
    #[serde(deserialize_with = "option")]
    pub(crate) allow_query_key: Option<bool>,
}

/// `[cors]`
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct CorsSection {
    /// Whether pages of other origins may use the routes.
    #[serde(deserialize_with = "option")]
    pub(crate) enabled: Option<bool>,
    /// Their origins, or `*`.
    pub(crate) origin_url: Option<OneOrMany>,
    /// Seconds that a browser may remember what it was allowed.
    #[serde(deserialize_with = "option")]
    pub(crate) max_age: Option<u32>,
}

/// `[proxy]`
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct ProxySection {
    /// Addresses, networks, or `unix`.
    pub(crate) trusted: Option<OneOrMany>,
}

/// `[limits]`; times in seconds.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct LimitsSection {
    /// Bytes of a request body.
    #[serde(deserialize_with = "option")]
    pub(crate) max_body: Option<usize>,
    /// Until the headers of a request are complete.
    #[serde(deserialize_with = "option")]
    pub(crate) header_timeout: Option<u64>,
    /// Until the answer is there; the body of the request is read within it.
    #[serde(deserialize_with = "option")]
    pub(crate) request_timeout: Option<u64>,
    /// That a connection may idle between two requests.
    #[serde(deserialize_with = "option")]
    pub(crate) keepalive_timeout: Option<u64>,
    /// Open connections.
    #[serde(deserialize_with = "option")]
    pub(crate) max_connections: Option<usize>,
    /// Requests being answered.
    #[serde(deserialize_with = "option")]
    pub(crate) max_in_flight: Option<usize>,
    /// That requests get to end when the host stops.
    #[serde(deserialize_with = "option")]
    pub(crate) shutdown_grace: Option<u64>,
}

/// `[log]`
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct LogSection {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    #[serde(deserialize_with = "option")]
    pub(crate) level: Option<String>,
    /// `text` or `json`.
    #[serde(deserialize_with = "option")]
    pub(crate) format: Option<String>,
    /// File to append to instead of standard error.
    #[serde(deserialize_with = "option")]
    pub(crate) file: Option<String>,
    /// Whether each request is logged.
    #[serde(deserialize_with = "option")]
    pub(crate) access: Option<bool>,
}

/// The parameters of an instance that belong to the host; all others go to the plugin.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct HostKeys {
    /// `global`, `plugin`, `session` or `none`.
    #[serde(deserialize_with = "option")]
    pub(crate) auth_type: Option<String>,
    /// The instance's own key, or several.
    pub(crate) apikey: Option<OneOrMany>,
    /// Where its routes are mounted, instead of `/<instance>`.
    #[serde(deserialize_with = "option")]
    pub(crate) route_path: Option<String>,
    /// The plugin to make an instance of, instead of the one with the instance's name.
    #[serde(deserialize_with = "option")]
    pub(crate) plugin: Option<String>,
    /// With `auth_type=session`: the instance whose sessions count.
    #[serde(deserialize_with = "option")]
    pub(crate) session_plugin: Option<String>,
    /// SHA-256 that the plugin's file must have.
    #[serde(deserialize_with = "option")]
    pub(crate) sha256: Option<String>,
}
