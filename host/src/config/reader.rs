//! Converts texts to types: defaults, ranges, and rules that involve two keys.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use settings::loose::OneOrMany;
use tracing::Level;

use crate::budget;

use super::auth_type::api_keys;
use super::documents::{self, Documents};
use super::doubtful;
use super::instances;
use super::layers::{self, Environment, IniFile, IniFormat};
use super::origins::{Cors, Origins};
use super::overrides::{self, Overrides};
use super::own_section;
use super::plugin_parms::Folders;
use super::problem::{ConfigError, Problem};
use super::proxies::Proxies;
use super::raw::{RawConfig, RawSection, Resolver};
use super::secret::ApiKeys;
use super::secret_file;
use super::sections::{
    AuthSection, CorsSection, FILE_SERVER, FileServerSection, KEYS, LimitsSection, LogSection, MEMORY,
    METRICS_KEYS, NetworkSection, PLUGIN_PARMS, PathsSection, ProxySection, SECTIONS, SslSection,
    memory_expected,
};
use super::tls::{Tls, TlsError, Versions};
use super::types::{Auth, Config, Limits, Log, LogFormat, Network, Paths};
use super::values;

/// Seconds.
const YEAR: u64 = 31_536_000;

/// Collects problems while sections become types.
pub(super) struct Reader<'a> {
    raw: RawConfig,
    environment: Vec<(OsString, OsString)>,
    folder: &'a Path,
    problems: Vec<Problem>,
    overrides: Overrides,
}

impl<'a> Reader<'a> {
    /// Loads the layers: the file's text, overridden by the variables.
    pub(super) fn new(
        name: &str,
        text: String,
        environment: Vec<(OsString, OsString)>,
        folder: &'a Path,
    ) -> Result<Self, ConfigError> {
        let format = IniFormat::default();
        let file = IniFile { name: name.to_owned(), text, format: format.clone() };
        let variables = Environment { variables: environment.clone(), sections: SECTIONS };
        let merged = layers::merged(&[&file, &variables])
            .map_err(|error| ConfigError::Invalid(vec![Problem::at("environment", error.to_string())]))?;
        let problems = format
            .take_errors()
            .into_iter()
            .map(|error| Problem::at(format!("{name}:{}", error.line), error.message))
            .collect();
        let below = layers::merged(&[&file]).map(|below| RawConfig::from_layers(below, name));
        // The text was parsed a second time only for this; do not report its syntax errors twice.
        format.take_errors();
        let raw = RawConfig::from_layers(merged, name);
        let overrides = below.map(|below| overrides::find(&below, &raw)).unwrap_or_default();
        Ok(Self { raw, environment, folder, problems, overrides })
    }

    /// The configuration, if there are no errors.
    pub(super) fn config(mut self) -> Result<Config, ConfigError> {
        let mut raw = std::mem::take(&mut self.raw);
        let mut warnings = documents::take_markdown(&mut raw);
        let variables = std::mem::take(&mut self.environment);
        let lookup = |name: &str| {
            let found = variables.iter().find(|(variable, _)| variable == name);
            found.and_then(|(_, value)| value.to_str().map(str::to_owned))
        };
        let resolver = Resolver {
            raw: &raw,
            environment: &lookup,
            files: &secret_file::read,
            referred: Default::default(),
        };
        self.check_own_sections(&raw);
        let network = self.network(&resolver);
        let tls = self.ssl(&resolver);
        let (paths, documents) = self.paths(&resolver);
        let auth = self.auth(&resolver);
        let cors = self.cors(&resolver);
        let proxies = self.proxy(&resolver);
        let limits = self.limits(&resolver);
        let log = self.log(&resolver);
        self.problems.extend(documents.problems);
        warnings.extend(documents.warnings);
        let has_global_key = !auth.keys.is_empty();
        let folders = Folders { beside_ini: self.folder, plugins: &paths.plugins };
        let (instances, problems) =
            instances::of_lines(&resolver, &folders, has_global_key, documents.meant.as_ref());
        self.problems.extend(problems);
        let sections = instances::of_own_sections(&resolver, &folders, has_global_key, &instances);
        if self.problems.is_empty() {
            warnings.extend(doubtful::warnings(&raw));
            warnings.append(&mut self.overrides.keys);
            let notes = self.overrides.others;
            Ok(Config {
                network,
                tls,
                paths,
                auth,
                cors,
                proxies,
                limits,
                log,
                instances,
                sections,
                warnings,
                notes,
            })
        } else {
            // An error of an instance fails only that instance; but while the file is being edited, report it with the
            // others.
            let broken = instances.into_iter().filter_map(|line| line.config.err());
            self.problems.extend(broken.flatten());
            Err(ConfigError::Invalid(self.problems))
        }
    }

    fn check_own_sections(&mut self, raw: &RawConfig) {
        for section in raw.sections.iter().filter(|section| !SECTIONS.contains(&section.name.as_str())) {
            // An instance may be called anything.
            if raw.entry(PLUGIN_PARMS, &section.name).is_none() {
                self.problems.extend(own_section::check_name(section).err());
            }
        }
    }

    /// The values of a section as its type; invalid keys get their defaults.
    fn section<T: DeserializeOwned + Default>(&mut self, resolver: &Resolver<'_>, name: &str) -> T {
        let Some(section) = resolver.raw.section(name) else { return T::default() };
        let mut values = serde_json::Map::new();
        for entry in &section.entries {
            let read = resolver.value(name, entry);
            match read.and_then(|value| values::check_seen(&value).map(|()| value)) {
                Ok(value) => {
                    values.insert(entry.key.clone(), value);
                }
                Err(message) => self.problem(section, &entry.key, message),
            }
        }
        settings::read(&values).unwrap_or_else(|problems| {
            for problem in problems {
                self.problem(section, &problem.key, problem.message);
                values.remove(&problem.key);
            }
            // The other keys are still used, so that rules which they break are reported in the same run.
            settings::read(&values).unwrap_or_default()
        })
    }

    fn problem(&mut self, section: &RawSection, key: &str, message: impl Into<String>) {
        let entry = section.entries.iter().find(|entry| entry.key == key);
        let place = entry.map_or(section.place.as_str(), |entry| entry.place.as_str());
        let mut message = message.into();
        if let Some(comment) = entry.and_then(doubtful::comment) {
            message = format!("{message}; {}", comment.trim_end_matches('.'));
        }
        self.problems.push(Problem::with_key(place, &section.name, key, message));
    }

    fn reject(&mut self, resolver: &Resolver<'_>, section: &str, key: &str, message: &str) {
        if let Some(section) = resolver.raw.section(section) {
            self.problem(section, key, message);
        }
    }

    fn network(&mut self, resolver: &Resolver<'_>) -> Network {
        let section: NetworkSection = self.section(resolver, "network");
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let ip = match section.bindto.as_deref().map(|text| text.trim().trim_matches(['[', ']'])) {
            None => loopback,
            Some(name) if name.eq_ignore_ascii_case("localhost") => loopback,
            Some(text) => text.parse().unwrap_or_else(|_| {
                self.reject(resolver, "network", "bindto", "expected an IP address or `localhost`");
                loopback
            }),
        };
        let threads = section.threads.filter(|threads| *threads > 0);
        if threads.is_some_and(|threads| threads > 1024) {
            self.reject(resolver, "network", "threads", "at most 1024");
        }
        let unix_socket =
            section.unix_socket.map(|written| self.path(resolver, "network", "unix_socket", &written));
        Network { address: SocketAddr::new(ip, section.port.unwrap_or(6123)), unix_socket, threads }
    }

    fn ssl(&mut self, resolver: &Resolver<'_>) -> Option<Tls> {
        let section: SslSection = self.section(resolver, "ssl");
        let versions = match section.min_version.as_deref().map(str::trim) {
            None | Some("1.2") => Versions::From12,
            Some("1.3") => Versions::From13,
            Some(_) => {
                self.reject(resolver, "ssl", "min_version", "expected 1.2 or 1.3");
                Versions::From13
            }
        };
        if !section.enabled.unwrap_or(false) {
            return None;
        }
        let file = |key: &str, written: Option<String>| {
            written.map(|written| self.path(resolver, "ssl", key, &written))
        };
        let (certfile, keyfile) = (file("certfile", section.certfile), file("keyfile", section.keyfile));
        let (Some(certfile), Some(keyfile)) = (&certfile, &keyfile) else {
            let missing = if certfile.is_none() { "certfile" } else { "keyfile" };
            self.reject(resolver, "ssl", missing, "TLS is enabled, so a PEM file must be named");
            return None;
        };
        match Tls::load(certfile, keyfile, versions, section.hsts_seconds.unwrap_or(YEAR)) {
            Ok(tls) => return Some(tls),
            Err(TlsError::Certificate(message)) => self.reject(resolver, "ssl", "certfile", &message),
            Err(TlsError::Key(message)) => self.reject(resolver, "ssl", "keyfile", &message),
        }
        None
    }

    fn paths(&mut self, resolver: &Resolver<'_>) -> (Paths, Documents) {
        let section: PathsSection = self.section(resolver, "paths");
        let file_server: FileServerSection = self.section(resolver, FILE_SERVER);
        let absolute = |section: &str, key: &str, written: &str| self.path(resolver, section, key, written);
        let documents = documents::read(resolver.raw, &section, &file_server, &absolute);
        let path = |key: &str, written: Option<String>, default: &str| {
            self.path(resolver, "paths", key, &written.unwrap_or_else(|| default.to_owned()))
        };
        let plugins = path("plugins", section.plugins, "plugins");
        let state = path("state", section.state, "state");
        if state.to_str().is_none() {
            // Plugins get the path as text.
            let message = format!("[paths] state: the folder {} is not UTF-8", state.display());
            self.problems.push(Problem::at("environment", message));
        }
        let pidfile = section.pidfile.map(|written| self.path(resolver, "paths", "pidfile", &written));
        (Paths { plugins, state, pidfile }, documents)
    }

    /// Resolves a path relative to the INI file; one from the environment is relative to the current directory.
    fn path(&self, resolver: &Resolver<'_>, section: &str, key: &str, written: &str) -> PathBuf {
        let entries = resolver.raw.section(section).map(|section| section.entries.iter());
        let from_environment = entries.into_iter().flatten().any(|entry| entry.key == key && entry.literal);
        if from_environment {
            std::path::absolute(written).unwrap_or_else(|_| PathBuf::from(written))
        } else {
            self.folder.join(written)
        }
    }

    fn auth(&mut self, resolver: &Resolver<'_>) -> Auth {
        let section: AuthSection = self.section(resolver, "auth");
        let mut read = |key: &str, written: Option<OneOrMany>| match written.map(|keys| api_keys(&keys.0)) {
            None => ApiKeys::default(),
            Some(Ok(keys)) => keys,
            Some(Err(message)) => {
                self.reject(resolver, "auth", key, &message);
                ApiKeys::default()
            }
        };
        let keys = read(KEYS, section.apikey);
        let metrics_keys = read(METRICS_KEYS, section.metrics_apikey);
        if metrics_keys.0.iter().any(|key| keys.0.contains(key)) {
            let message = "it is one of `apikey`, too, and so opens everything: write a key of its own";
            self.reject(resolver, "auth", METRICS_KEYS, message);
        }
        Auth { keys, metrics_keys, allow_query_key: section.allow_query_key.unwrap_or(false) }
    }

    fn cors(&mut self, resolver: &Resolver<'_>) -> Option<Cors> {
        let section: CorsSection = self.section(resolver, "cors");
        let is_enabled = section.enabled.unwrap_or(false);
        let max_age = section.max_age.unwrap_or(3600);
        if max_age > 86_400 {
            self.reject(resolver, "cors", "max_age", "expected 0 to 86400 seconds");
        }
        // Invalid origins are reported even while CORS is disabled.
        if !is_enabled && section.origin_url.is_none() {
            return None;
        }
        match Origins::parse(&section.origin_url.unwrap_or_default().0) {
            Ok(origins) => is_enabled.then(|| Cors { origins, max_age: Duration::from_secs(max_age.into()) }),
            Err(message) => {
                self.reject(resolver, "cors", "origin_url", &message);
                None
            }
        }
    }

    fn proxy(&mut self, resolver: &Resolver<'_>) -> Proxies {
        let section: ProxySection = self.section(resolver, "proxy");
        Proxies::parse(&section.trusted.unwrap_or_default().0).unwrap_or_else(|message| {
            self.reject(resolver, "proxy", "trusted", &message);
            Proxies::default()
        })
    }

    fn limits(&mut self, resolver: &Resolver<'_>) -> Limits {
        let section: LimitsSection = self.section(resolver, "limits");
        let mut seconds = |key: &str, written: Option<u64>, default: u64| {
            if written.is_some_and(|seconds| seconds == 0 || seconds > 86_400) {
                self.reject(resolver, "limits", key, "expected 1 to 86400 seconds");
            }
            Duration::from_secs(written.unwrap_or(default))
        };
        let header_timeout = seconds("header_timeout", section.header_timeout, 10);
        let request_timeout = seconds("request_timeout", section.request_timeout, 30);
        let keepalive_timeout = seconds("keepalive_timeout", section.keepalive_timeout, 75);
        let shutdown_grace = seconds("shutdown_grace", section.shutdown_grace, 10);
        if section.max_memory.is_some_and(|bytes| !MEMORY.contains(&bytes)) {
            self.reject(resolver, "limits", "max_memory", &memory_expected());
        }
        let mut count = |key: &str, written: Option<usize>, default: usize, most: usize| {
            if written.is_some_and(|count| count == 0 || count > most) {
                self.reject(resolver, "limits", key, &format!("expected 1 to {most}"));
            }
            written.unwrap_or(default)
        };
        Limits {
            max_memory: section.max_memory.unwrap_or_else(budget::memory),
            max_body: count("max_body", section.max_body, 1 << 20, 1 << 30),
            max_connections: count("max_connections", section.max_connections, 4096, 1 << 20),
            max_in_flight: count("max_in_flight", section.max_in_flight, 1024, 1 << 20),
            header_timeout,
            request_timeout,
            keepalive_timeout,
            shutdown_grace,
        }
    }

    fn log(&mut self, resolver: &Resolver<'_>) -> Log {
        let section: LogSection = self.section(resolver, "log");
        let level = section.level.map_or(Some(Level::INFO), |written| values::level(&written));
        if level.is_none() {
            self.reject(resolver, "log", "level", "expected error, warn, info, debug or trace");
        }
        let format = match section.format.as_deref().map(str::to_ascii_lowercase).as_deref() {
            None | Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            Some(_) => {
                self.reject(resolver, "log", "format", "expected text or json");
                LogFormat::Text
            }
        };
        Log {
            level: level.unwrap_or(Level::INFO),
            format,
            file: section.file.map(|written| self.path(resolver, "log", "file", &written)),
            access: section.access.unwrap_or(false),
        }
    }
}
