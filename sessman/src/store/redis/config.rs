//! The configuration keys of the Redis store.

use std::sync::Arc;

use serde::Deserialize;
use settings::Problem;

use super::settings::RedisConfig;
use super::state::RedisStore;
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
pub(in crate::store) struct RedisKeys {
    /// Redis: `host:port[,host:port]`, or a `redis://` or `rediss://` URL (`valkey://` and `valkeys://` are the same);
    /// several are a cluster.
    ///
    /// Default: Redis: `REDIS_URL`, else `localhost:6379`.
    #[serde(deserialize_with = "settings::loose::option")]
    server_url: Option<String>,
    /// The user name, not percent-encoded.
    ///
    /// Default: none.
    #[serde(deserialize_with = "settings::loose::option")]
    username: Option<String>,
    /// The password, not percent-encoded. Redis takes one without a user, and an empty one for none.
    ///
    /// Default: none.
    #[serde(deserialize_with = "settings::loose::option")]
    password: Option<String>,
    /// Redis: the number of the database.
    ///
    /// Default: Redis: what the URL says, else 0.
    #[serde(deserialize_with = "settings::loose::text_or_number")]
    database: Option<String>,
    /// Redis: the prefix of all keys.
    ///
    /// Default: Redis: the instance's name.
    #[serde(deserialize_with = "settings::loose::option")]
    collection: Option<String>,
    /// MongoDB, and Redis with `rediss://`: PEM file of the trusted certificate authorities; a relative path begins in the
    /// state folder, as with the files below.
    ///
    /// Default: the public authorities.
    #[serde(deserialize_with = "settings::loose::option")]
    tls_ca_file: Option<String>,
    /// Redis with `rediss://`: PEM file of the client certificate.
    ///
    /// Default: none.
    #[serde(deserialize_with = "settings::loose::option")]
    tls_certificate_file: Option<String>,
    /// Redis with `rediss://`: PEM file of the private key of that certificate.
    ///
    /// Default: none.
    #[serde(deserialize_with = "settings::loose::option")]
    tls_key_file: Option<String>,
    /// Redis: how many replicas must have the end of a session, or its new id, before it is answered; with fewer within
    /// 700 ms the answer is 503, although it is done. See docs/stores.md.
    ///
    /// Default: 0.
    #[serde(deserialize_with = "settings::loose::option")]
    wait_replicas: Option<u8>,
}

impl BackendKeys for RedisKeys {
    const NAME: &'static str = "redis";

    type Backend = RedisConfig;

    fn fit(server_url: Option<&str>) -> Fit {
        if server_url.is_some_and(RedisConfig::is_meant_by) { Fit::Certain } else { Fit::Not }
    }

    fn check(self, surroundings: &Surroundings<'_>) -> std::result::Result<RedisConfig, Vec<Problem>> {
        let one = |problem| vec![problem];
        let server_url = surroundings.server_url(self.server_url, "REDIS_URL").map_err(one)?;
        let file = |name: Option<String>| name.map(|name| surroundings.file(&name));
        let config = RedisConfig {
            server_url: server_url.unwrap_or_else(|| Secret::new("localhost:6379")),
            username: self.username,
            password: self.password.map(Secret::new),
            database: self.database,
            prefix: self.collection.unwrap_or_else(|| surroundings.instance.to_owned()),
            tls_ca_file: file(self.tls_ca_file),
            tls_certificate_file: file(self.tls_certificate_file),
            tls_key_file: file(self.tls_key_file),
            wait_replicas: self.wait_replicas.unwrap_or(0),
        };
        config.check().map_err(one)
    }
}

impl Backend for RedisConfig {
    fn name(&self) -> &'static str {
        RedisKeys::NAME
    }

    fn open(&self, _: &Arc<dyn Clock>, _: &Arc<dyn Budget>) -> Result<Arc<dyn Store>> {
        Ok(Arc::new(RedisStore::open(self)?))
    }

    /// Like [`open`](Self::open), which creates nothing.
    fn open_to_read(&self, _: View) -> Result<Arc<dyn Store>> {
        Ok(Arc::new(RedisStore::open(self)?))
    }

    fn describe(&self) -> String {
        format!("Redis, keys {}:*", self.prefix)
    }

    fn is_same_place(&self, other: &dyn Backend) -> bool {
        other.downcast_ref::<Self>().is_some_and(|other| {
            self.server_url == other.server_url
                && (&self.database, &self.prefix) == (&other.database, &other.prefix)
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::Shared
    }

    fn shell(&self) -> std::result::Result<Option<Shell>, Problem> {
        RedisConfig::shell(self).map(Some)
    }

    fn hints(&self) -> Vec<&'static str> {
        match self.is_readable_on_the_way() {
            true => {
                vec!["`server_url` is not rediss://: sessions and the password cross the network unencrypted"]
            }
            false => Vec::new(),
        }
    }

    fn removes_by_itself(&self) -> bool {
        true
    }
}
