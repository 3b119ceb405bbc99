//! The stores that every end to end test runs on.

use std::env;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::pserve::{Pserve, Site};

/// A kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// In the process.
    Memory,
    /// In a file.
    Sqlite,
    /// In the MongoDB of the run.
    MongoDb,
    /// In the Redis of the run.
    Redis,
    /// In the Redis cluster of the run.
    RedisCluster,
}

impl Store {
    /// The `sessman.json` for an empty store of this kind; `None`, and reported, where it cannot be had.
    pub fn config(self, test: &str) -> Option<Value> {
        match self {
            Self::Memory => Some(json!({ "backend": "memory" })),
            Self::Sqlite => Some(json!({})),
            Self::MongoDb => {
                let uri = server(test, "E2E_MONGODB_URI")?;
                Some(json!({ "server_url": uri, "database": fresh_name() }))
            }
            Self::Redis => {
                let url = server(test, "E2E_REDIS_URL")?;
                Some(json!({ "server_url": url, "collection": fresh_name() }))
            }
            Self::RedisCluster => {
                let servers = server(test, "E2E_REDIS_CLUSTER")?;
                Some(json!({ "backend": "redis", "server_url": servers, "collection": fresh_name() }))
            }
        }
    }

    /// Hosts on it, with `more` keys: two where several processes may share it.
    pub fn hosts(self, config: &Value, more: Value) -> Vec<(Site, Pserve)> {
        let mut config = config.clone();
        if let (Some(config), Value::Object(more)) = (config.as_object_mut(), more) {
            config.extend(more);
        }
        let serve = |_| {
            let site = Site::new();
            site.sessman(&config.to_string());
            let pserve = site.start();
            (site, pserve)
        };
        (0..if self.is_shared() { 2 } else { 1 }).map(serve).collect()
    }

    /// Whether several processes may work on it.
    pub fn is_shared(self) -> bool {
        matches!(self, Self::MongoDb | Self::Redis | Self::RedisCluster)
    }
}

/// The server that the run names.
fn server(test: &str, variable: &str) -> Option<String> {
    let server = env::var(variable).ok();
    if server.is_none() {
        crate::skip(test, &format!("no server: {variable} is not set"));
    }
    server
}

/// A database, or a beginning of names, that no other test uses.
fn fresh_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("e2e_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Makes a test of `fn name(store: Store, config: Value)` for every store.
#[macro_export]
macro_rules! on_every_store {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            #[test]
            fn memory() {
                $crate::store::run(stringify!($name), $crate::store::Store::Memory, super::$name);
            }
            #[test]
            fn sqlite() {
                $crate::store::run(stringify!($name), $crate::store::Store::Sqlite, super::$name);
            }
            #[test]
            fn mongodb() {
                $crate::store::run(stringify!($name), $crate::store::Store::MongoDb, super::$name);
            }
            #[test]
            fn redis() {
                $crate::store::run(stringify!($name), $crate::store::Store::Redis, super::$name);
            }
            #[test]
            fn redis_cluster() {
                $crate::store::run(stringify!($name), $crate::store::Store::RedisCluster, super::$name);
            }
        }
    )*};
}

/// Runs a test on a store, if it can be had.
pub fn run(name: &str, store: Store, test: impl FnOnce(Store, Value)) {
    if let Some(config) = store.config(&format!("{name}::{store:?}")) {
        test(store, config);
    }
}
