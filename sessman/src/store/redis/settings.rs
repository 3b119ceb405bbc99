//! Configuration of the Redis store.

use std::net::IpAddr;
use std::path::PathBuf;

use settings::Problem;

use super::server_url::{Address, ServerUrl, read_database};
use crate::secret::Secret;

/// A limit, as a longer prefix makes every key longer.
const MAX_PREFIX: usize = 64;

/// Configuration of the Redis store. [`check`](Self::check) validates it.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// `host:port[,host:port]`, or `redis://[user:password@]host:port[,host:port][/database]`, `rediss://` for TLS.
    /// Several are members of one cluster, and the others are discovered. It may contain a password, so it is a secret.
    pub server_url: Secret,
    /// The user name, not percent-encoded; `None` for the user `default`.
    pub username: Option<String>,
    /// The password, not percent-encoded; `None` or empty for none.
    pub password: Option<Secret>,
    /// The number of the database; `None` for what the URL says, else 0. A cluster has only 0.
    pub database: Option<String>,
    /// The prefix of all keys.
    pub prefix: String,
    /// Certificate authorities that are trusted, as a PEM file; `None` for the public ones.
    pub tls_ca_file: Option<PathBuf>,
    /// The client certificate and its intermediate certificates, as a PEM file.
    pub tls_certificate_file: Option<PathBuf>,
    /// The private key of that certificate, as a PEM file.
    pub tls_key_file: Option<PathBuf>,
    /// How many replicas must have the end of a session, or its new id, before that is acknowledged; 0 for none.
    pub wait_replicas: u8,
}

/// A validated configuration, parsed.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) servers: Vec<Address>,
    pub(super) tls: Option<Tls>,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) database: u32,
    pub(super) prefix: String,
    pub(super) wait_replicas: u8,
}

/// The files for TLS.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) ca_file: Option<PathBuf>,
    /// Client certificate and private key.
    pub(super) own_files: Option<(PathBuf, PathBuf)>,
}

impl RedisConfig {
    /// Whether `server_url` has a scheme of Redis.
    pub fn is_meant_by(server_url: &str) -> bool {
        ServerUrl::has_scheme(server_url)
    }

    /// Validates the configuration. Nothing is resolved, connected to or read.
    ///
    /// # Errors
    /// The first key that is wrong, without its value.
    pub fn check(self) -> Result<Self, Problem> {
        self.settings()?;
        Ok(self)
    }

    /// Whether sessions and the password cross a network unencrypted.
    pub fn is_readable_on_the_way(&self) -> bool {
        let is_here = |host: &str| {
            let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
            address.map_or(host == "localhost", |address| address.is_loopback())
        };
        self.settings().is_ok_and(|settings| {
            settings.tls.is_none() && !settings.servers.iter().all(|server| is_here(&server.host))
        })
    }

    pub(super) fn settings(&self) -> Result<Settings, Problem> {
        let problem = |key: &str, message: &str| Problem { key: key.to_owned(), message: message.to_owned() };
        let url =
            ServerUrl::parse(self.server_url.expose()).map_err(|wrong| problem("server_url", &wrong))?;
        let password = self.password.clone().filter(|password| !password.expose().is_empty());
        let has_login =
            |username: Option<&str>, password: Option<&Secret>| username.or(password.map(|_| "")).is_some();
        if has_login(url.username.as_deref(), url.password.as_ref())
            && has_login(self.username.as_deref(), password.as_ref())
        {
            return Err(problem(
                "server_url",
                "contains a user or password, and there is a username or password too; keep one of them",
            ));
        }
        if self.username.as_deref() == Some("") {
            return Err(problem("username", "expected a name; leave the key out for the user `default`"));
        }
        let password = password.or(url.password);
        let username = self.username.clone().or(url.username);
        if username.is_some() && password.is_none() {
            return Err(problem("password", "a user needs one"));
        }
        let number = self.database.as_deref().map(read_database).transpose();
        let database = number.map_err(|wrong| problem("database", &wrong))?.or(url.database).unwrap_or(0);
        if database != 0 && url.servers.len() > 1 {
            return Err(problem(
                "database",
                "several servers are a cluster, and a cluster has only database 0",
            ));
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if self.prefix.is_empty() || self.prefix.len() > MAX_PREFIX || !self.prefix.chars().all(is_plain) {
            return Err(problem("collection", "expected 1 to 64 letters, digits and any of _ - ."));
        }
        let own_files = match (&self.tls_certificate_file, &self.tls_key_file) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            (Some(_), None) => return Err(problem("tls_key_file", "a certificate needs its key")),
            (None, Some(_)) => return Err(problem("tls_certificate_file", "a key needs its certificate")),
        };
        let ca_file = self.tls_ca_file.clone();
        if !url.tls && (ca_file.is_some() || own_files.is_some()) {
            return Err(problem(
                "server_url",
                "is not one for TLS, but there are files for it; write rediss://",
            ));
        }
        let tls = url.tls.then_some(Tls { ca_file, own_files });
        Ok(Settings {
            servers: url.servers,
            tls,
            username,
            password,
            database,
            prefix: self.prefix.clone(),
            wait_replicas: self.wait_replicas,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(server_url: &str) -> RedisConfig {
        RedisConfig {
            server_url: Secret::new(server_url),
            username: None,
            password: None,
            database: None,
            prefix: "sessman".into(),
            tls_ca_file: None,
            tls_certificate_file: None,
            tls_key_file: None,
            wait_replicas: 0,
        }
    }

    #[test]
    fn user_password_and_database_come_from_keys_or_from_the_url() {
        let keys = RedisConfig {
            username: Some("a:b@/%".into()),
            password: Some(Secret::new("p@:/%41")),
            database: Some("3".into()),
            ..config("h:1")
        };
        let settings = keys.settings().unwrap();
        assert_eq!(settings.username.as_deref(), Some("a:b@/%"));
        assert_eq!(settings.password.unwrap().expose(), "p@:/%41");
        assert_eq!((settings.database, settings.tls.is_some()), (3, false));
        let settings = config("rediss://u:p@h/5").settings().unwrap();
        assert_eq!((settings.username.as_deref(), settings.database), (Some("u"), 5));
        assert!(settings.tls.is_some());
        let number = RedisConfig { database: Some("2".into()), ..config("redis://h/5") };
        assert_eq!(number.settings().unwrap().database, 2);
        let empty = RedisConfig { password: Some(Secret::new("")), ..config("h") };
        assert!(empty.settings().unwrap().password.is_none());
    }

    #[test]
    fn what_cannot_be_is_refused_at_its_key() {
        let wrong = |url: &str, change: fn(&mut RedisConfig)| {
            let mut config = config(url);
            change(&mut config);
            config.check().unwrap_err().key
        };
        assert_eq!(wrong("h", |config| config.database = Some("sessman".into())), "database");
        assert_eq!(wrong("a,b", |config| config.database = Some("1".into())), "database");
        assert_eq!(wrong("redis://a,b/1", |_| {}), "database");
        assert_eq!(wrong("h", |config| config.username = Some(String::new())), "username");
        assert_eq!(wrong("h", |config| config.username = Some("ada".into())), "password");
        assert_eq!(wrong("redis://u:p@h", |config| config.password = Some(Secret::new("q"))), "server_url");
        for prefix in ["", "a:b", "a*", "{a}", "a b", "\u{fc}"] {
            let config = RedisConfig { prefix: prefix.into(), ..config("h") };
            assert_eq!(config.check().unwrap_err().key, "collection", "{prefix}");
        }
        assert_eq!(wrong("redis://h", |config| config.tls_ca_file = Some("ca.pem".into())), "server_url");
        assert_eq!(
            wrong("rediss://h", |config| config.tls_key_file = Some("k".into())),
            "tls_certificate_file"
        );
        assert_eq!(
            wrong("rediss://h", |config| config.tls_certificate_file = Some("c".into())),
            "tls_key_file"
        );
    }

    #[test]
    fn nothing_shows_the_password() {
        let secret = RedisConfig { password: Some(Secret::new("hidden")), ..config("redis://h") };
        let in_url = config("redis://u:hidden@h");
        assert!(!format!("{secret:?} {in_url:?} {:?}", in_url.settings().unwrap()).contains("hidden"));
    }
}
