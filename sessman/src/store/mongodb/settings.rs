//! Where the sessions are, and who logs in there.

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

/// What the name of the users' collection has behind that of the sessions'.
pub(super) const SUFFIX: &str = "_users";

/// How long a call waits for a primary, a connection or a majority. Below [`CALL_LIMIT`](super::connection::CALL_LIMIT),
/// so that a call ends with the reason and not with the limit.
pub(super) const SERVER_LIMIT: Duration = Duration::from_millis(1_500);

/// The driver's own default of 10 connections makes a service wait for its own requests where a round trip takes some
/// milliseconds; idle ones cost the server a thread each, so it is not many more.
const POOL_SIZE: u32 = 50;

/// A database name on any system that a server runs on.
const MAX_DATABASE_BYTES: usize = 63;
/// Database, a dot and collection, in a server of any version.
const MAX_NAMESPACE_BYTES: usize = 255;

/// Where the sessions are, and who logs in there. [`check`](Self::check) says whether it makes sense.
#[derive(Debug, Clone)]
pub struct MongoConfig {
    /// `host:port[,host:port]`, or a whole `mongodb://` or `mongodb+srv://` URL, whose options hold. It may contain a
    /// user and password, so it is a secret.
    ///
    /// Not followed are `w` and `readPreference` (writes go to a majority, reads to the primary), and
    /// `serverSelectionTimeoutMS` above 1500. A database in its path is the one that knows the user, no more.
    pub server_url: Secret,
    /// Who logs in, as the name is, not percent-encoded.
    pub username: Option<String>,
    /// The password as it is, not percent-encoded.
    pub password: Option<Secret>,
    /// The database with the sessions.
    pub database: String,
    /// The collection with the sessions.
    pub collection: String,
    /// The database that knows the user. `None`: what the URL, or the DNS record behind `mongodb+srv://`, says, else
    /// [`database`](Self::database) for [`username`](Self::username), and the driver's default for a user in the URL.
    pub auth_source: Option<String>,
    /// Certificates of those who vouch for the servers, as PEM; `None` for the public ones. Either file turns TLS on.
    pub tls_ca_file: Option<PathBuf>,
    /// Our own certificate and its key, as PEM, in one file.
    pub tls_certificate_key_file: Option<PathBuf>,
}

impl MongoConfig {
    /// Gives the configuration back if it makes sense. Nothing is resolved, connected to or read.
    ///
    /// # Errors
    /// The first key that is wrong, without its value.
    pub fn check(self) -> Result<Self, Problem> {
        let problem = |key: &str, message: &str| Problem { key: key.to_owned(), message: message.to_owned() };
        check_database(&self.database).map_err(|wrong| problem("database", wrong))?;
        if let Some(auth_source) = &self.auth_source {
            // `$external` is the one of certificates and LDAP.
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
            // All that is left to do is to look at the options together, which waits for nothing.
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

    /// The URL for the driver: for a `username` it has a placeholder of a login in it, so that the driver takes the
    /// options that only make sense with one, and finds the database that knows the user by its own rules.
    fn driver_url(&self, url: &ConnectionString<'_>) -> Secret {
        let login = match (&self.username, &self.password) {
            (None, _) => Login::AsGiven,
            (Some(_), None) => Login::User,
            (Some(_), Some(_)) => Login::UserAndPassword,
        };
        Secret::new(url.text(login, &self.database))
    }

    /// The driver's options. For `mongodb+srv://` this asks the DNS, else it waits for nothing.
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
        // Without a limit the server would go on waiting for a majority long after the caller has gone.
        let wait = write_concern.w_timeout.filter(|wait| !wait.is_zero()).unwrap_or(SERVER_LIMIT);
        write_concern.w_timeout = Some(wait.min(SERVER_LIMIT));
        Ok(options)
    }

    /// Files are looked at here: the driver calls one that is not there a broken connection.
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
mod tests {
    use mongodb::options::ReadConcern;

    use super::*;

    fn config(server_url: &str) -> MongoConfig {
        MongoConfig {
            server_url: Secret::new(server_url),
            username: None,
            password: None,
            database: "sessman".into(),
            collection: "sessions".into(),
            auth_source: None,
            tls_ca_file: None,
            tls_certificate_key_file: None,
        }
    }

    fn with_login(server_url: &str, username: &str, password: &str) -> MongoConfig {
        MongoConfig {
            username: Some(username.into()),
            password: Some(Secret::new(password)),
            ..config(server_url)
        }
    }

    fn options(config: MongoConfig) -> ClientOptions {
        let config = config.check().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(config.client_options()).unwrap()
    }

    fn credential(config: MongoConfig) -> (String, Option<String>, Option<String>) {
        let credential = options(config).credential.unwrap();
        (credential.username.unwrap_or_default(), credential.password, credential.source)
    }

    #[test]
    fn hosts_come_with_or_without_a_url() {
        let hosts = |text: &str| -> Vec<String> {
            options(config(text)).hosts.iter().map(ToString::to_string).collect()
        };
        assert_eq!(hosts("mongo.domain.tld:27018"), ["mongo.domain.tld:27018"]);
        assert_eq!(hosts("mongo.domain.tld"), ["mongo.domain.tld:27017"]);
        assert_eq!(hosts("a:1,b:2"), ["a:1", "b:2"]);
        assert_eq!(hosts("mongodb://a:1,b:2/?replicaSet=rs0"), ["a:1", "b:2"]);
        assert_eq!(hosts("[::1]:27018"), ["::1:27018"]);
        assert_eq!(options(config("mongodb://a/?replicaSet=rs0")).repl_set_name.as_deref(), Some("rs0"));
        config("mongodb+srv://cluster0.example.net/?appName=x").check().unwrap();
    }

    #[test]
    fn user_and_password_may_have_any_characters() {
        for password in ["p@ss:w/rd?#[]%", "%40", "ü 😀", "&=,+;", "mongodb://x@y/"] {
            for url in ["h:1", "mongodb://h:1", "mongodb://h:1/?tls=false"] {
                let found = credential(with_login(url, "ps@sess:man/%", password));
                assert_eq!(found, ("ps@sess:man/%".into(), Some(password.into()), Some("sessman".into())));
            }
        }
    }

    #[test]
    fn the_database_that_knows_the_user_is_found() {
        let source = |url: &str, auth_source: Option<&str>| {
            let config =
                MongoConfig { auth_source: auth_source.map(Into::into), ..with_login(url, "u", "p") };
            credential(config).2.unwrap()
        };
        assert_eq!(source("h", None), "sessman");
        assert_eq!(source("mongodb://h/users", None), "users");
        assert_eq!(source("mongodb://h/users?authSource=admin", None), "admin");
        assert_eq!(source("mongodb://h/?authMechanism=SCRAM-SHA-256", None), "sessman");
        assert_eq!(source("mongodb://h/users?authSource=admin", Some("other")), "other");

        let in_url = |url: &str| credential(config(url));
        assert_eq!(in_url("mongodb://u:p%40@h"), ("u".into(), Some("p@".into()), Some("admin".into())));
        assert_eq!(in_url("mongodb://u:p@h/users").2.as_deref(), Some("users"));
    }

    #[test]
    fn a_certificate_needs_no_password() {
        let url = "mongodb://h/?authMechanism=MONGODB-X509&tls=true";
        let certificate = MongoConfig { password: None, ..with_login(url, "CN=sessman", "") };
        assert_eq!(credential(certificate).2.as_deref(), Some("$external"));
        let none = MongoConfig { password: None, ..with_login("h", "u", "") };
        assert_eq!(none.check().unwrap_err().key, "server_url");
    }

    #[test]
    fn majority_primary_and_time_limits_hold_whatever_the_url_says() {
        let url = "mongodb://h/?w=1&readPreference=secondary&serverSelectionTimeoutMS=30000&journal=true&maxPoolSize=7";
        let options = options(config(url));
        let write_concern = options.write_concern.unwrap();
        assert_eq!(write_concern.w, Some(Acknowledgment::Majority));
        assert_eq!((write_concern.journal, write_concern.w_timeout), (Some(true), Some(SERVER_LIMIT)));
        assert_eq!(options.selection_criteria, Some(ReadPreference::Primary.into()));
        assert_eq!(options.server_selection_timeout, Some(SERVER_LIMIT));
        assert_eq!(options.max_pool_size, Some(7));
        assert_eq!((options.retry_writes, options.retry_reads), (None, None));
        for (url, expected) in [("wTimeoutMS=0", 1_500), ("wTimeoutMS=60000", 1_500), ("wTimeoutMS=200", 200)]
        {
            let limit =
                self::options(config(&format!("mongodb://h/?{url}"))).write_concern.unwrap().w_timeout;
            assert_eq!(limit, Some(Duration::from_millis(expected)), "{url}");
        }
    }

    #[test]
    fn options_of_the_url_reach_the_driver() {
        let url = "mongodb://h/?minPoolSize=3&maxIdleTimeMS=9000&compressors=zstd,zlib,snappy&appName=shop\
                   &readConcernLevel=linearizable&retryWrites=false&directConnection=true";
        let options = options(config(url));
        assert_eq!((options.min_pool_size, options.max_pool_size), (Some(3), Some(POOL_SIZE)));
        assert_eq!(options.max_idle_time, Some(Duration::from_secs(9)));
        let compressors = format!("{:?}", options.compressors.unwrap()).to_lowercase();
        assert!(["zstd", "zlib", "snappy"].iter().all(|name| compressors.contains(name)), "{compressors}");
        assert_eq!(options.app_name.as_deref(), Some("shop"));
        assert_eq!(options.read_concern, Some(ReadConcern::linearizable()));
        assert_eq!((options.retry_writes, options.direct_connection), (Some(false), Some(true)));
        assert_eq!(self::options(config("h")).app_name.as_deref(), Some("sessman"));
        assert_eq!(config("mongodb://h/?compressors=lz4").check().unwrap_err().key, "server_url");
    }

    #[test]
    fn files_for_tls_come_from_keys_or_from_the_url() {
        let folder = tempfile::tempdir().unwrap();
        let [ca, own] = ["ca.pem", "own.pem"].map(|name| folder.path().join(name));
        for file in [&ca, &own] {
            std::fs::write(file, "").unwrap();
        }
        let keys = MongoConfig {
            tls_ca_file: Some(ca.clone()),
            tls_certificate_key_file: Some(own.clone()),
            ..config("h")
        };
        let in_url = format!(
            "mongodb://h/?tls=true&tlsCAFile={}&tlsCertificateKeyFile={}",
            ca.display(),
            own.display()
        );
        for config in [keys.clone(), config(&in_url)] {
            let Some(Tls::Enabled(tls)) = options(config).tls else { panic!("no TLS") };
            assert_eq!((tls.ca_file_path, tls.cert_key_file_path), (Some(ca.clone()), Some(own.clone())));
        }
        for url in [in_url.as_str(), "mongodb://h/?tls=false", "mongodb://h/?ssl=false"] {
            let both = MongoConfig { server_url: Secret::new(url), ..keys.clone() };
            assert_eq!(both.check().unwrap_err().key, "server_url", "{url}");
        }
        std::fs::remove_file(&own).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let error = runtime.block_on(keys.client_options()).unwrap_err();
        assert!(matches!(&error, StoreError::Unusable(text) if text.contains("own.pem")), "{error:?}");
    }

    #[test]
    fn what_cannot_be_is_refused_at_its_key() {
        let wrong = |change: fn(&mut MongoConfig)| {
            let mut config = config("h:1");
            change(&mut config);
            config.check().unwrap_err().key
        };
        assert_eq!(wrong(|config| config.database = "a.b".into()), "database");
        assert_eq!(wrong(|config| config.database = "x".repeat(64)), "database");
        assert_eq!(wrong(|config| config.collection = String::new()), "collection");
        assert_eq!(wrong(|config| config.collection = "system.users".into()), "collection");
        assert_eq!(wrong(|config| config.auth_source = Some(String::new())), "auth_source");
        assert_eq!(wrong(|config| config.username = Some(String::new())), "username");
        assert_eq!(wrong(|config| config.password = Some(Secret::new("p"))), "password");
        assert_eq!(wrong(|config| config.server_url = Secret::new("")), "server_url");
        assert_eq!(with_login("mongodb://u:p@h", "v", "q").check().unwrap_err().key, "server_url");
    }

    #[test]
    fn nothing_shows_the_password() {
        let secret = with_login("mongodb://h", "u", "hidden");
        assert!(!format!("{secret:?} {:?}", config("mongodb://u:hidden@h")).contains("hidden"));
        let urls = [
            "mongodb://u:hid?den=hidden@h/",
            "mongodb://u:hidden/hidden@h/",
            "mongodb://u:hidden@hidden@h",
            "mongodb://u:%hidden@h",
            "mongodb://u:hidden@h:port",
            "mongodb://u:hidden@h/a b.c",
            "mongodb://u:hidden",
            "mongodb://u:hidden@h/?hidden",
            "mongodb://u:hidden@h/?tls=hidden",
            "mongodb://h/?hidden=1",
            "mongodb://h/?authMechanismProperties=hidden",
            "http://u:hidden@h",
            "u:hidden@h",
            "mongodb+srv://u:hidden@h:1",
            "mongodb+srv://u:hidden@a,b",
            "mongodb://u:hidden@a,b/?directConnection=true",
            "mongodb://h hidden/",
            "mongodb://h/?readPreference=hidden",
            "mongodb://:hidden@h",
            "mongodb://u:hidden@h/?tls=true&tls=false",
        ];
        for url in urls {
            let problem = config(url).check().expect_err(url);
            assert!(
                !problem.to_string().contains("hid") && !format!("{problem:?}").contains("den"),
                "{problem}"
            );
        }
    }
}
