//! The configuration keys of the MongoDB store.

use std::sync::Arc;

use serde::Deserialize;
use settings::Problem;

use super::settings::MongoConfig;
use super::store::MongoStore;
use crate::budget::Budget;
use crate::config::Surroundings;
use crate::secret::Secret;
use crate::store::backend::{Backend, BackendKeys, Fit, Sharing, View};
use crate::store::shell::Shell;
use crate::store::{Result, Store};
use crate::time::Clock;

/// The keys as written. It has no `Debug`, as it holds passwords.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::store) struct MongoKeys {
    /// MongoDB: `host:port[,host:port]`, or a `mongodb://` or `mongodb+srv://` URL.
    ///
    /// Default: `MONGODB_URI` of the environment, else `localhost:27017`.
    #[serde(deserialize_with = "settings::loose::option")]
    server_url: Option<String>,
    /// The user name, not percent-encoded.
    ///
    /// Default: none.
    #[serde(deserialize_with = "settings::loose::option")]
    username: Option<String>,
    /// The password, not percent-encoded.
    ///
    /// Default: none.
    #[serde(deserialize_with = "settings::loose::option")]
    password: Option<String>,
    /// MongoDB: the name of the database.
    ///
    /// Default: `sessman`.
    #[serde(deserialize_with = "settings::loose::text_or_number")]
    database: Option<String>,
    /// MongoDB: the collection.
    ///
    /// Default: `sessions`.
    #[serde(deserialize_with = "settings::loose::option")]
    collection: Option<String>,
    /// MongoDB: the authentication database.
    ///
    /// Default: what the URL says, else `database`.
    #[serde(deserialize_with = "settings::loose::option")]
    auth_source: Option<String>,
    /// MongoDB, and Redis with `rediss://`: PEM file of the trusted certificate authorities; a relative path begins in the
    /// state folder, as with the files below. To MongoDB it turns TLS on.
    ///
    /// Default: the public authorities.
    #[serde(deserialize_with = "settings::loose::option")]
    tls_ca_file: Option<String>,
    /// MongoDB: PEM file of the client certificate and its private key; turns TLS on.
    ///
    /// Default: none.
    #[serde(deserialize_with = "settings::loose::option")]
    tls_certificate_key_file: Option<String>,
}

impl BackendKeys for MongoKeys {
    const NAME: &'static str = "mongodb";

    type Backend = MongoConfig;

    /// Any URL that is certain for no other backend, so that its errors are reported.
    fn fit(server_url: Option<&str>) -> Fit {
        if server_url.is_some() { Fit::Possible } else { Fit::Not }
    }

    fn check(self, surroundings: &Surroundings<'_>) -> std::result::Result<MongoConfig, Vec<Problem>> {
        let one = |problem| vec![problem];
        let server_url = surroundings.server_url(self.server_url, "MONGODB_URI").map_err(one)?;
        let file = |name: Option<String>| name.map(|name| surroundings.file(&name));
        let config = MongoConfig {
            server_url: server_url.unwrap_or_else(|| Secret::new("localhost:27017")),
            username: self.username,
            password: self.password.map(Secret::new),
            database: self.database.unwrap_or_else(|| "sessman".into()),
            collection: self.collection.unwrap_or_else(|| "sessions".into()),
            auth_source: self.auth_source,
            tls_ca_file: file(self.tls_ca_file),
            tls_certificate_key_file: file(self.tls_certificate_key_file),
        };
        config.check().map_err(one)
    }
}

impl Backend for MongoConfig {
    fn name(&self) -> &'static str {
        MongoKeys::NAME
    }

    fn open(&self, _: &Arc<dyn Clock>, _: &Arc<dyn Budget>) -> Result<Arc<dyn Store>> {
        Ok(Arc::new(MongoStore::open(self.clone())?))
    }

    fn open_to_read(&self, _: View) -> Result<Arc<dyn Store>> {
        Ok(Arc::new(MongoStore::open_as_it_is(self.clone())?))
    }

    fn describe(&self) -> String {
        format!("MongoDB, {}.{}", self.database, self.collection)
    }

    fn is_same_place(&self, other: &dyn Backend) -> bool {
        other.downcast_ref::<Self>().is_some_and(|other| {
            self.server_url == other.server_url
                && (&self.database, &self.collection) == (&other.database, &other.collection)
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::Shared
    }

    fn shell(&self) -> std::result::Result<Option<Shell>, Problem> {
        MongoConfig::shell(self).map(Some)
    }

    /// The driver runs on the runtime.
    fn threads(&self) -> usize {
        2
    }

    fn removes_by_itself(&self) -> bool {
        true
    }
}
