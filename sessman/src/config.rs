//! `sessman.json`: what is written in it, and what it comes to.

mod access;
mod cookie;
mod encryption;
mod raw;
mod rules;
mod seen;

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};
pub use settings::Problem;

pub use access::{AccessConfig, AdminKeys, ClientAccess, VerifyKey};
pub use cookie::{CookieConfig, SameSite};
pub use raw::RawConfig;

use crate::rules::Rules;
use crate::secret::Secret;
use crate::store::memory::MemoryConfig;
use crate::store::mongodb::MongoConfig;
use crate::store::redis::RedisConfig;
use crate::store::sealed::Keys;
use crate::store::sqlite::{CACHE_BYTES, Durability, SqliteConfig};

/// The whole configuration of an instance, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where sessions are kept.
    pub store: StoreConfig,
    /// What encrypts them there; `None` where nothing does.
    pub encryption: Option<Keys>,
    /// The rules they follow.
    pub rules: Rules,
    /// Who may do what with them.
    pub access: AccessConfig,
    /// The cookie that carries the id; `None` when cookies are off.
    pub cookie: Option<CookieConfig>,
    /// How often expired records are removed, where the store does not do it by itself.
    pub cleanup_interval: Duration,
}

/// Where sessions are kept.
#[derive(Debug, Clone)]
pub enum StoreConfig {
    /// In this process, until it ends.
    Memory(MemoryConfig),
    /// In a file.
    Sqlite(SqliteConfig),
    /// In MongoDB.
    MongoDb(MongoConfig),
    /// In Redis or Valkey.
    Redis(RedisConfig),
}

impl StoreConfig {
    /// Whether both name one place, written alike. Servers may have several names, which are not looked into.
    pub fn is_same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sqlite(one), Self::Sqlite(other)) => {
                let path = |config: &SqliteConfig| config.path.canonicalize().unwrap_or(config.path.clone());
                path(one) == path(other)
            }
            (Self::MongoDb(one), Self::MongoDb(other)) => {
                one.server_url.expose() == other.server_url.expose()
                    && (&one.database, &one.collection) == (&other.database, &other.collection)
            }
            (Self::Redis(one), Self::Redis(other)) => {
                one.server_url.expose() == other.server_url.expose()
                    && (&one.database, &one.prefix) == (&other.database, &other.prefix)
            }
            _ => false,
        }
    }
}

/// What a configuration is read beside.
pub struct Surroundings<'a> {
    /// The name of the instance.
    pub instance: &'a str,
    /// The folder for files of its own.
    pub state_folder: &'a Path,
    /// Looks an environment variable up.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
}

impl Config {
    /// Reads the members of `sessman.json`. It opens no file and reaches no server.
    ///
    /// # Errors
    /// All problems at once, none with the value of a secret.
    pub fn read(members: &Map<String, Value>, surroundings: &Surroundings<'_>) -> Result<Self, Vec<Problem>> {
        let hidden = seen::check(members);
        let raw: RawConfig = settings::read(members).map_err(|wrong| [hidden.clone(), wrong].concat())?;
        if !hidden.is_empty() {
            // What depends on them cannot be judged.
            return Err(hidden);
        }
        let mut problems = Vec::new();
        let store = raw.store(surroundings, &mut problems);
        let encryption = encryption::read(&raw, &mut problems);
        let rules = raw.rules(&mut problems);
        let cleanup_interval = seconds("cleanup_interval", raw.cleanup_interval, &mut problems);
        let access = access::read(&raw, &mut problems);
        let cookie = cookie::read(raw.cookie.as_ref(), surroundings.instance, &mut problems);
        match store {
            Some(store) if problems.is_empty() => Ok(Self {
                store,
                encryption,
                rules,
                access,
                cookie,
                cleanup_interval: cleanup_interval.unwrap_or(CLEANUP_INTERVAL),
            }),
            _ => Err(problems),
        }
    }
}

/// Data and metadata of this size each stay below MongoDB's 16 MiB for a document: JSON grows sixfold as BSON at worst,
/// an array of one-digit numbers.
const MAX_DATA_BYTES: usize = 1 << 20;
/// Between two clean-ups.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(300);
/// A hundred years: beyond it, dates no longer fit every store.
const MAX_SECONDS: u64 = 100 * 365 * 86_400;

fn problem(key: &str, message: &str) -> Problem {
    Problem { key: key.to_owned(), message: message.to_owned() }
}

/// A number of seconds, not zero.
fn seconds(key: &str, value: Option<u64>, problems: &mut Vec<Problem>) -> Option<Duration> {
    number(key, value, 1..=MAX_SECONDS, "seconds", problems).map(Duration::from_secs)
}

/// A number within bounds; the lower bound in place of one outside.
fn number(
    key: &str,
    value: Option<u64>,
    bounds: RangeInclusive<u64>,
    unit: &str,
    problems: &mut Vec<Problem>,
) -> Option<u64> {
    let value = value?;
    if bounds.contains(&value) {
        return Some(value);
    }
    problems.push(problem(key, &format!("expected {} to {} {unit}", bounds.start(), bounds.end())));
    Some(*bounds.start())
}

/// One of several words; the first where there is none.
fn choice<T: Copy>(key: &str, text: Option<&str>, words: &[(&str, T)], problems: &mut Vec<Problem>) -> T {
    let found = text.map_or(Some(words[0].1), |text| {
        words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning)
    });
    found.unwrap_or_else(|| {
        let (last, others) = words.split_last().expect("there is a choice");
        let others: Vec<_> = others.iter().map(|(word, _)| *word).collect();
        problems.push(problem(key, &format!("expected {} or {}", others.join(", "), last.0)));
        words[0].1
    })
}

impl RawConfig {
    fn store(&self, surroundings: &Surroundings<'_>, problems: &mut Vec<Problem>) -> Option<StoreConfig> {
        let named = self.backend.as_deref();
        let backend = named.unwrap_or(match self.server_url.as_deref() {
            Some(url) if RedisConfig::is_meant_by(url) => "redis",
            Some(_) => "mongodb",
            None => "sqlite",
        });
        self.refuse_keys_of_others(backend, problems);
        if let Some(hidden) = self.hidden_in_environment(backend, surroundings) {
            problems.push(hidden);
            return None;
        }
        match backend {
            "memory" => Some(StoreConfig::Memory(self.memory())),
            "sqlite" => Some(StoreConfig::Sqlite(self.sqlite(surroundings, problems))),
            "mongodb" => match self.mongodb(surroundings).check() {
                Ok(config) => Some(StoreConfig::MongoDb(config)),
                Err(wrong) => {
                    problems.push(wrong);
                    None
                }
            },
            "redis" => match self.redis(surroundings).check() {
                Ok(config) => Some(StoreConfig::Redis(config)),
                Err(wrong) => {
                    problems.push(wrong);
                    None
                }
            },
            _ => {
                problems.push(problem("backend", "expected mongodb, redis, sqlite or memory"));
                None
            }
        }
    }

    /// What is hidden in the URL of the environment, where that counts.
    fn hidden_in_environment(&self, backend: &str, surroundings: &Surroundings<'_>) -> Option<Problem> {
        let name = match backend {
            "mongodb" => "MONGODB_URI",
            "redis" => "REDIS_URL",
            _ => return None,
        };
        let url = self.server_url.is_none().then(|| (surroundings.environment)(name)).flatten()?;
        seen::check_text(name, &url)
    }

    /// A key that the store does not have is a mistake that should not stay unseen.
    fn refuse_keys_of_others(&self, backend: &str, problems: &mut Vec<Problem>) {
        const SERVERS: &[&str] = &["mongodb", "redis"];
        let keys: [(&str, bool, &[&str]); 15] = [
            ("server_url", self.server_url.is_some(), SERVERS),
            ("username", self.username.is_some(), SERVERS),
            ("password", self.password.is_some(), SERVERS),
            ("database", self.database.is_some(), SERVERS),
            ("collection", self.collection.is_some(), SERVERS),
            ("auth_source", self.auth_source.is_some(), &["mongodb"]),
            ("tls_ca_file", self.tls_ca_file.is_some(), SERVERS),
            ("tls_certificate_key_file", self.tls_certificate_key_file.is_some(), &["mongodb"]),
            ("tls_certificate_file", self.tls_certificate_file.is_some(), &["redis"]),
            ("tls_key_file", self.tls_key_file.is_some(), &["redis"]),
            ("wait_replicas", self.wait_replicas.is_some(), &["redis"]),
            ("path", self.path.is_some(), &["sqlite"]),
            ("durability", self.durability.is_some(), &["sqlite"]),
            ("cache_bytes", self.cache_bytes.is_some(), &["sqlite"]),
            ("max_memory_bytes", self.max_memory_bytes.is_some(), &["memory"]),
        ];
        for (key, given, owners) in keys {
            if given && !owners.contains(&backend) {
                let owners = owners.join(" or ");
                problems.push(problem(
                    key,
                    &format!("belongs to the backend {owners}, but the backend is {backend}"),
                ));
            }
        }
    }

    fn memory(&self) -> MemoryConfig {
        self.max_memory_bytes.map_or_else(MemoryConfig::default, |max_bytes| MemoryConfig { max_bytes })
    }

    fn sqlite(&self, surroundings: &Surroundings<'_>, problems: &mut Vec<Problem>) -> SqliteConfig {
        let default = || format!("{}.db", surroundings.instance);
        let path = surroundings.state_folder.join(self.path.clone().unwrap_or_else(default));
        let durability = choice(
            "durability",
            self.durability.as_deref(),
            &[("full", Durability::Full), ("normal", Durability::Normal)],
            problems,
        );
        SqliteConfig { path, durability, cache_bytes: self.cache_bytes.unwrap_or(CACHE_BYTES) }
    }

    fn mongodb(&self, surroundings: &Surroundings<'_>) -> MongoConfig {
        let from_environment = || (surroundings.environment)("MONGODB_URI");
        let file = |name: &Option<String>| file(surroundings, name.as_deref());
        MongoConfig {
            server_url: self
                .server_url
                .clone()
                .or_else(from_environment)
                .map_or_else(|| Secret::new("localhost:27017"), Secret::new),
            username: self.username.clone(),
            password: self.password.as_deref().map(Secret::new),
            database: self.database.clone().unwrap_or_else(|| "sessman".into()),
            collection: self.collection.clone().unwrap_or_else(|| "sessions".into()),
            auth_source: self.auth_source.clone(),
            tls_ca_file: file(&self.tls_ca_file),
            tls_certificate_key_file: file(&self.tls_certificate_key_file),
        }
    }

    fn redis(&self, surroundings: &Surroundings<'_>) -> RedisConfig {
        let from_environment = || (surroundings.environment)("REDIS_URL");
        let file = |name: &Option<String>| file(surroundings, name.as_deref());
        RedisConfig {
            server_url: self
                .server_url
                .clone()
                .or_else(from_environment)
                .map_or_else(|| Secret::new("localhost:6379"), Secret::new),
            username: self.username.clone(),
            password: self.password.as_deref().map(Secret::new),
            database: self.database.clone(),
            prefix: self.collection.clone().unwrap_or_else(|| surroundings.instance.to_owned()),
            tls_ca_file: file(&self.tls_ca_file),
            tls_certificate_file: file(&self.tls_certificate_file),
            tls_key_file: file(&self.tls_key_file),
            wait_replicas: self.wait_replicas.unwrap_or(0),
        }
    }
}

/// A relative path begins in the state folder.
fn file(surroundings: &Surroundings<'_>, name: Option<&str>) -> Option<PathBuf> {
    name.map(|name| surroundings.state_folder.join(name))
}

#[cfg(test)]
mod tests;
