//! The keys of each section, in one place each: a `serde` struct is the list of a section's keys and of their
//! types. `settings::read` takes the names from it for its errors.

use std::ops::RangeInclusive;

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use settings::loose::{OneOrMany, option};

/// Every section's name. `plugin_parms` holds one line per instance instead of fixed keys.
pub(crate) const SECTIONS: &[&str] =
    &["network", "ssl", "paths", "auth", "cors", "proxy", "limits", "log", FILE_SERVER, PLUGIN_PARMS];
/// The section with one line per instance.
pub(crate) const PLUGIN_PARMS: &str = "plugin_parms";

/// The section of the plugin that serves files.
pub(crate) const FILE_SERVER: &str = "file_server";

/// The keys that hold API keys: of `[auth]` and of an instance, and of `[auth]` alone.
pub(crate) const KEYS: &str = "apikey";
pub(crate) const METRICS_KEYS: &str = "metrics_apikey";

/// Whether a key of this name holds API keys, so that an empty one in its list is an error and not left out.
pub(crate) fn holds_keys(name: &str) -> bool {
    [KEYS, METRICS_KEYS].contains(&name)
}

/// The key that names the JSON file of an instance.
pub(crate) const JSON: &str = "json";

/// The section that has a key of this name; of several the first.
pub(crate) fn section_of(key: &str) -> Option<&'static str> {
    use settings::known_keys;
    let sections = [
        ("network", known_keys::<NetworkSection>()),
        ("ssl", known_keys::<SslSection>()),
        ("paths", known_keys::<PathsSection>()),
        ("auth", known_keys::<AuthSection>()),
        ("cors", known_keys::<CorsSection>()),
        ("proxy", known_keys::<ProxySection>()),
        ("limits", known_keys::<LimitsSection>()),
        ("log", known_keys::<LogSection>()),
        (FILE_SERVER, known_keys::<FileServerSection>()),
    ];
    sections.iter().find(|(_, keys)| keys.contains(&key)).map(|(section, _)| *section)
}

/// Whether a parameter of an instance belongs to the host.
pub(crate) fn is_host_key(key: &str) -> bool {
    settings::known_keys::<HostKeys>().contains(&key)
}

/// The parameters of an instance that belong to the host, for errors.
pub(crate) fn host_keys() -> String {
    settings::known_keys::<HostKeys>().join(", ")
}

/// `[network]`
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct NetworkSection {
    /// The address to listen on.
    ///
    /// Default: `127.0.0.1`.
    #[serde(deserialize_with = "option")]
    pub(crate) bindto: Option<String>,
    /// TCP port; 0 takes a free one and prints it.
    ///
    /// Default: 6123.
    #[serde(deserialize_with = "option")]
    pub(crate) port: Option<u16>,
    /// A Unix socket to listen on as well.
    ///
    /// Default: none.
    #[serde(deserialize_with = "option")]
    pub(crate) unix_socket: Option<String>,
    /// Worker threads, at most 1024; 0 is one a processor.
    ///
    /// Default: 0.
    #[serde(deserialize_with = "option")]
    pub(crate) threads: Option<usize>,
}

/// `[ssl]`
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct SslSection {
    /// Whether `bindto` and `port` speak TLS, and HTTP/2 with it.
    ///
    /// Default: false.
    #[serde(deserialize_with = "option")]
    pub(crate) enabled: Option<bool>,
    /// PEM file of the certificate and those between it and the root; read again on a reload.
    ///
    /// Default: none.
    #[serde(deserialize_with = "option")]
    pub(crate) certfile: Option<String>,
    /// PEM file of its key; read again on a reload.
    ///
    /// Default: none.
    #[serde(deserialize_with = "option")]
    pub(crate) keyfile: Option<String>,
    /// The oldest TLS that is spoken.
    ///
    /// Default: `1.2`.
    #[serde(deserialize_with = "option")]
    pub(crate) min_version: Option<String>,
    /// Seconds for which browsers are to use HTTPS alone for this host's name (`Strict-Transport-Security`); 0 tells them nothing.
    ///
    /// Default: 31536000.
    #[serde(deserialize_with = "option")]
    pub(crate) hsts_seconds: Option<u64>,
}

/// `[paths]`
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct PathsSection {
    /// Directory of the plugin files: every `*.so` in it is loaded.
    ///
    /// Default: `plugins`.
    #[serde(deserialize_with = "option")]
    pub(crate) plugins: Option<String>,
    /// Directory in which plugins keep their files.
    ///
    /// Default: `state`.
    #[serde(deserialize_with = "option")]
    pub(crate) state: Option<String>,
    /// File that holds the process id while the host runs.
    ///
    /// Default: none.
    #[serde(deserialize_with = "option")]
    pub(crate) pidfile: Option<String>,
    /// `path:folder`: the plugin `files` serves the files of this folder below this path; without a path, below the folder's
    /// own name. See docs/files.md.
    ///
    /// Default: none.
    #[serde(deserialize_with = "option")]
    pub(crate) documents: Option<String>,
    /// The name of the file that is served for a folder of `documents`.
    ///
    /// Default: `index.html`.
    #[serde(deserialize_with = "option")]
    pub(crate) indexfile: Option<String>,
}

/// `[auth]`
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct AuthSection {
    /// A key, or `list:` and several.
    ///
    /// Default: none.
    pub(crate) apikey: Option<OneOrMany>,
    /// A key that opens `/metrics` and nothing else, or `list:` and several; `apikey` opens it, too.
    ///
    /// Default: none.
    pub(crate) metrics_apikey: Option<OneOrMany>,
    /// Whether `?apikey=` counts.
    ///
    /// Default: false.
    #[serde(deserialize_with = "option")]
    pub(crate) allow_query_key: Option<bool>,
}

/// `[cors]`
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct CorsSection {
    /// Whether pages of other origins may use the routes.
    ///
    /// Default: false.
    #[serde(deserialize_with = "option")]
    pub(crate) enabled: Option<bool>,
    /// Their origins, `list:` and several, or `*`.
    ///
    /// Default: none.
    pub(crate) origin_url: Option<OneOrMany>,
    /// Seconds that a browser may remember what it was allowed.
    ///
    /// Default: 3600.
    #[serde(deserialize_with = "option")]
    pub(crate) max_age: Option<u32>,
}

/// `[proxy]`
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct ProxySection {
    /// Addresses, networks and `unix`, after `list:`, whose Forwarded and X-Forwarded-... are believed.
    ///
    /// Default: none.
    pub(crate) trusted: Option<OneOrMany>,
}

/// `[limits]`; times in seconds.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct LimitsSection {
    /// Bytes of a request's body.
    ///
    /// Default: 1048576.
    #[serde(deserialize_with = "option")]
    pub(crate) max_body: Option<usize>,
    /// Seconds until a request's headers are complete.
    ///
    /// Default: 10.
    #[serde(deserialize_with = "option")]
    pub(crate) header_timeout: Option<u64>,
    /// Seconds until the answer is there; the body of the request is read within it.
    ///
    /// Default: 30.
    #[serde(deserialize_with = "option")]
    pub(crate) request_timeout: Option<u64>,
    /// Seconds that a connection may idle between two requests; longer than those of a balancer in front.
    ///
    /// Default: 75.
    #[serde(deserialize_with = "option")]
    pub(crate) keepalive_timeout: Option<u64>,
    /// Open connections, of which one client gets a share.
    ///
    /// Default: 4096.
    #[serde(deserialize_with = "option")]
    pub(crate) max_connections: Option<usize>,
    /// Requests being answered; beyond it 503.
    ///
    /// Default: 1024.
    #[serde(deserialize_with = "option")]
    pub(crate) max_in_flight: Option<usize>,
    /// Bytes of memory that the process may take, 64 MiB at least; see docs/network.md.
    ///
    /// Default: the limit of its control group, else half of the machine's memory.
    #[serde(deserialize_with = "memory")]
    pub(crate) max_memory: Option<u64>,
    /// Seconds that requests get to end when the host stops.
    ///
    /// Default: 10.
    #[serde(deserialize_with = "option")]
    pub(crate) shutdown_grace: Option<u64>,
}

/// Valid range of `max_memory`, in bytes: enough for the program to serve requests, and no more than any machine has.
pub(crate) const MEMORY: RangeInclusive<u64> = 64 << 20..=1 << 50;

/// The valid range of `max_memory`, as text for errors; also for values with a unit.
pub(crate) fn memory_expected() -> String {
    let (least, most) = MEMORY.into_inner();
    format!("expected {least} to {most} bytes, as a whole number without a unit: 536870912 is 512 MiB")
}

/// As [`option`], with the valid range in its error.
fn memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    option(deserializer).map_err(|_: D::Error| D::Error::custom(memory_expected()))
}

/// `[log]`
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct LogSection {
    /// How much is logged.
    ///
    /// Default: `info`.
    #[serde(deserialize_with = "option")]
    pub(crate) level: Option<String>,
    /// How a line of the log looks.
    ///
    /// Default: `text`.
    #[serde(deserialize_with = "option")]
    pub(crate) format: Option<String>,
    /// File to append to; a reload opens it anew.
    ///
    /// Default: standard error.
    #[serde(deserialize_with = "option")]
    pub(crate) file: Option<String>,
    /// Whether each request is logged, by its route alone; see docs/operations.md.
    ///
    /// Default: false.
    #[serde(deserialize_with = "option")]
    pub(crate) access: Option<bool>,
}

/// `[file_server]`
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct FileServerSection {
    /// The same as `documents` in `[paths]`.
    ///
    /// Default: none.
    #[serde(deserialize_with = "option")]
    pub(crate) documents: Option<String>,
    /// The same as `indexfile` in `[paths]`.
    ///
    /// Default: `index.html`.
    #[serde(deserialize_with = "option")]
    pub(crate) indexfile: Option<String>,
    /// File to which a line is appended for each request for one of the `documents`, in the Common Log Format.
    ///
    /// Default: none.
    #[serde(deserialize_with = "option")]
    pub(crate) common_log: Option<String>,
}

/// The parameters of an instance that belong to the host; all others go to the plugin.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct HostKeys {
    /// `global`: the key of `[auth]`; `plugin`: its own `apikey`; `session`: a live session; `none`: everyone.
    ///
    /// Default: `global` if `[auth]` has a key; else this machine alone.
    #[serde(deserialize_with = "option")]
    pub(crate) auth_type: Option<String>,
    /// The same as `auth_type`.
    ///
    /// Default: none.
    #[serde(deserialize_with = "option")]
    pub(crate) auth: Option<String>,
    /// The instance's own key, or several; means `auth_type=plugin`.
    ///
    /// Default: none.
    pub(crate) apikey: Option<OneOrMany>,
    /// Where its routes are mounted.
    ///
    /// Default: `/<instance>`.
    #[serde(deserialize_with = "option")]
    pub(crate) route_path: Option<String>,
    /// The plugin to make an instance of.
    ///
    /// Default: the line's name.
    #[serde(deserialize_with = "option")]
    pub(crate) plugin: Option<String>,
    /// With `auth_type=session`: the instance whose sessions count.
    ///
    /// Default: the only one that keeps sessions.
    #[serde(deserialize_with = "option")]
    pub(crate) session_plugin: Option<String>,
    /// The instances that it may call, each with what it may do there: `sessman` or `sessman:session` acts on the session of the
    /// request alone, `sessman:service` as a client with the key, `sessman:admin` as an administrator, too.
    ///
    /// Default: none.
    pub(crate) calls: Option<OneOrMany>,
    /// The SHA-256 that the plugin's file must have; another file is not used.
    ///
    /// Default: any file.
    #[serde(deserialize_with = "option")]
    pub(crate) sha256: Option<String>,
}
