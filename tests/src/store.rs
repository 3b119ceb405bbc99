//! The stores that every end to end test runs on.

use std::env;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

/// A kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// In the process.
    Memory,
    /// In a file.
    Sqlite,
    /// In the MongoDB of the run.
    MongoDb,
}

impl Store {
    /// The `sessman.json` for an empty store of this kind; `None`, and reported, where it cannot be had.
    pub fn config(self, test: &str) -> Option<Value> {
        match self {
            Self::Memory => Some(json!({ "backend": "memory" })),
            Self::Sqlite => Some(json!({})),
            Self::MongoDb => match env::var("E2E_MONGODB_URI") {
                Ok(uri) => Some(json!({ "server_url": uri, "database": fresh_name() })),
                Err(_) => {
                    crate::skip(test, "no MongoDB: E2E_MONGODB_URI is not set");
                    None
                }
            },
        }
    }
}

/// A database that no other test uses.
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
        }
    )*};
}

/// Runs a test on a store, if it can be had.
pub fn run(name: &str, store: Store, test: impl FnOnce(Store, Value)) {
    if let Some(config) = store.config(&format!("{name}::{store:?}")) {
        test(store, config);
    }
}
