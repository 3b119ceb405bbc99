//! Configuration of the MongoDB store.

use std::future::{Future, IntoFuture};
use std::path::PathBuf;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mongodb::options::{
    Acknowledgment, ClientOptions, ConnectionString as DriverConnectionString, Credential, ReadPreference,
    SelectionCriteria, Tls, TlsOptions,
};
use settings::Problem;

use super::connection_string::{ConnectionString, Login};
use super::failure;
use crate::secret::Secret;
use crate::store::StoreError;

/// The name of the users' collection is that of the sessions' with this suffix.
pub(super) const SUFFIX: &str = "_users";

/// Timeout for a primary, a connection or a majority. Shorter than [`CALL_LIMIT`](super::connection::CALL_LIMIT), so that a
/// call fails with its specific error.
pub(super) const SERVER_LIMIT: Duration = Duration::from_millis(1_500);

/// The driver's default of 10 connections makes requests wait for each other if a round trip takes some milliseconds. Not
/// many more, as idle connections cost the server a thread each.
const POOL_SIZE: u32 = 50;

/// The limit for database names on all platforms of servers.
const MAX_DATABASE_BYTES: usize = 63;
/// The limit for database, dot and collection in servers of all versions.
const MAX_NAMESPACE_BYTES: usize = 255;

/// Configuration of the MongoDB store. [`check`](Self::check) validates it.
#[derive(Debug, Clone)]
pub struct MongoConfig {
    /// `host:port[,host:port]`, or a `mongodb://` or `mongodb+srv://` URL with options. It may contain a user and password, so
    /// it is a secret.
    ///
    /// Ignored are `w` and `readPreference` (writes go to a majority, reads to the primary), and `serverSelectionTimeoutMS`
    /// above 1500. A database in its path is only the authentication database.
    pub server_url: Secret,
    /// The user name, not percent-encoded.
    pub username: Option<String>,
    /// The password, not percent-encoded.
    pub password: Option<Secret>,
    /// The database with the sessions.
    pub database: String,
    /// The collection with the sessions.
    pub collection: String,
    /// The authentication database. `None`: that of the URL, or of the DNS record behind `mongodb+srv://`; else
    /// [`database`](Self::database) for [`username`](Self::username), and the driver's default for a user in the URL.
    pub auth_source: Option<String>,
    /// Certificate authorities that are trusted, as a PEM file; `None` for the public ones. Either file turns TLS on.
    pub tls_ca_file: Option<PathBuf>,
    /// The client certificate and its private key, in one PEM file.
    pub tls_certificate_key_file: Option<PathBuf>,
}

impl MongoConfig {
    /// Validates the configuration. Nothing is resolved, connected to or read.
    ///
    /// # Errors
    /// The first key that is wrong, without its value.
    pub fn check(self) -> Result<Self, Problem> {
        let problem = |key: &str, message: &str| Problem { key: key.to_owned(), message: message.to_owned() };
        check_database(&self.database).map_err(|wrong| problem("database", wrong))?;
        if let Some(auth_source) = &self.auth_source {
            // `$external` is that of certificates and LDAP.
            if auth_source != "$external" {
                check_database(auth_source).map_err(|wrong| problem("auth_source", wrong))?;
            }
        }
        check_collection(&self.collection, &self.database).map_err(|wrong| problem("collection", wrong))?;
        if self.username.as_deref() == Some("") {
            return Err(problem("username", "expected a name; leave the key out if nobody logs in"));
        }
        if self.username.is_none() && self.password.is_some() {
            return Err(problem("password", "needs a username"));
        }
        self.check_server_url().map_err(|wrong| problem("server_url", &wrong))?;
        Ok(self)
    }

    pub(super) fn files(&self) -> [(&'static str, &'static str, Option<&PathBuf>); 2] {
        [
            ("tls_ca_file", "tlsCAFile", self.tls_ca_file.as_ref()),
            ("tls_certificate_key_file", "tlsCertificateKeyFile", self.tls_certificate_key_file.as_ref()),
        ]
    }

    fn check_server_url(&self) -> Result<(), String> {
        let url = ConnectionString::parse(self.server_url.expose())?;
        if url.has_login() && self.username.is_some() {
            return Err("contains a user, and there is a username too; keep one of them".into());
        }
        for (key, option, _) in self.files().into_iter().filter(|(_, _, file)| file.is_some()) {
            if url.option(option).is_some() {
                return Err(format!("has {option}, and there is a {key} too; keep one of them"));
            }
            if ["tls", "ssl"].iter().any(|name| url.option(name) == Some("false")) {
                return Err(format!("turns TLS off, but there is a {key} for it"));
            }
        }
        url.check_options()?;
        let text = self.driver_url(&url);
        if DriverConnectionString::parse(text.expose()).is_err() {
            return Err(url.fault());
        }
        if !url.is_seed_list() {
            // This only validates the combination of options, and completes on the first poll.
            let mut parsing = pin!(ClientOptions::parse(text.expose()).into_future());
            if let Poll::Ready(Err(_)) = parsing.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return Err("has options that exclude each other".into());
            }
        }
        if self.username.is_some() && self.password.is_none() && !url.has_mechanism() {
            return Err("has no authMechanism that works without a password, and there is none".into());
        }
        Ok(())
    }

    /// The URL for the driver. For a `username` it includes a placeholder of a login, so that the driver accepts the options that
    /// need one, and finds the authentication database by its own rules.
    fn driver_url(&self, url: &ConnectionString<'_>) -> Secret {
        let login = match (&self.username, &self.password) {
            (None, _) => Login::AsGiven,
            (Some(_), None) => Login::User,
            (Some(_), Some(_)) => Login::UserAndPassword,
        };
        Secret::new(url.text(login, &self.database))
    }

    /// The driver's options. Resolves DNS for `mongodb+srv://`, and completes immediately otherwise.
    ///
    /// # Errors
    /// What [`check`](Self::check) finds, and names that cannot be resolved.
    pub(super) async fn client_options(&self) -> Result<ClientOptions, StoreError> {
        let url = ConnectionString::parse(self.server_url.expose()).map_err(StoreError::Unusable)?;
        let text = self.driver_url(&url);
        let mut options = ClientOptions::parse(text.expose()).await.map_err(failure::store_error)?;
        self.set_login(&mut options);
        self.set_tls(&mut options)?;

        options.app_name.get_or_insert_with(|| "sessman".into());
        options.max_pool_size.get_or_insert(POOL_SIZE);
        options.connect_timeout.get_or_insert(SERVER_LIMIT);
        let selection = options.server_selection_timeout.unwrap_or(SERVER_LIMIT);
        options.server_selection_timeout = Some(selection.min(SERVER_LIMIT));

        options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
        let write_concern = options.write_concern.get_or_insert_default();
        write_concern.w = Some(Acknowledgment::Majority);
        // Without a limit the server would keep waiting for a majority long after the caller is gone.
        let wait = write_concern.w_timeout.filter(|wait| !wait.is_zero()).unwrap_or(SERVER_LIMIT);
        write_concern.w_timeout = Some(wait.min(SERVER_LIMIT));
        Ok(options)
    }

    /// Checks the files here: the driver reports a missing file as a broken connection.
    fn set_tls(&self, options: &mut ClientOptions) -> Result<(), StoreError> {
        if self.files().iter().any(|(_, _, file)| file.is_some()) {
            let mut tls = match options.tls.take() {
                Some(Tls::Enabled(tls)) => tls,
                _ => TlsOptions::default(),
            };
            tls.ca_file_path = self.tls_ca_file.clone().or(tls.ca_file_path);
            tls.cert_key_file_path = self.tls_certificate_key_file.clone().or(tls.cert_key_file_path);
            options.tls = Some(Tls::Enabled(tls));
        }
        if let Some(Tls::Enabled(tls)) = &options.tls {
            for path in [&tls.ca_file_path, &tls.cert_key_file_path].into_iter().flatten() {
                std::fs::File::open(path).map_err(|error| {
                    StoreError::Unusable(format!("its TLS file {} cannot be read: {error}", path.display()))
                })?;
            }
        }
        Ok(())
    }

    fn set_login(&self, options: &mut ClientOptions) {
        if let Some(username) = &self.username {
            let credential = options.credential.get_or_insert_with(Credential::default);
            credential.username = Some(username.clone());
            credential.password = self.password.as_ref().map(|password| password.expose().to_owned());
        }
        if let (Some(credential), Some(auth_source)) = (&mut options.credential, &self.auth_source) {
            credential.source = Some(auth_source.clone());
        }
    }
}

fn check_database(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > MAX_DATABASE_BYTES {
        return Err("expected a name of 1 to 63 bytes");
    }
    if name.contains(['/', '\\', '.', ' ', '"', '$', '*', '<', '>', ':', '|', '?', '\0']) {
        return Err("expected a name without spaces, dots and any of / \\ \" $ * < > : | ?");
    }
    Ok(())
}

fn check_collection(name: &str, database: &str) -> Result<(), &'static str> {
    if name.is_empty() || database.len() + 1 + name.len() + SUFFIX.len() > MAX_NAMESPACE_BYTES {
        return Err("expected a name of 1 to 249 bytes, the database's name included");
    }
    if name.contains(['$', '\0']) || name.starts_with('.') || name.ends_with('.') {
        return Err("expected a name without $, and without a dot at either end");
    }
    if name.starts_with("system.") {
        return Err("names with system. in front belong to the server");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
