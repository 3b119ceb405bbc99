//! The store against a server: the one that `E2E_MONGODB_URI` names, which `cargo xtask test` provides. What needs a
//! real one, and what needs any where there is none, is reported as skipped.

mod denial;
mod foreign;
mod outage;
mod plans;
mod proxy;
mod server;
mod tls;
mod users;

use std::sync::atomic::{AtomicU32, Ordering};

use mongodb::bson::RawDocumentBuf;
use mongodb::{Client, Collection};

use super::connection::Connection;
use super::{MongoConfig, MongoStore, indexes};
use crate::secret::Secret;
use crate::store::conformance::{Fixture, conformance_tests, skip};

/// The collection, past the store.
type Documents = Collection<RawDocumentBuf>;

/// A database of its own on the server of the run, dropped with this value.
struct Database {
    config: MongoConfig,
}

impl Database {
    fn new() -> Option<Self> {
        let Ok(uri) = std::env::var("E2E_MONGODB_URI") else {
            skip("no MongoDB: E2E_MONGODB_URI is not set");
            return None;
        };
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let database = format!("sessman_test_{}_{number}", std::process::id());
        Some(Self { config: config(&uri, database) })
    }

    /// The same for a test that the stand-in would fail or pass without showing anything.
    fn real(reason: &str) -> Option<Self> {
        let database = Self::new()?;
        if std::env::var("E2E_MONGODB_KIND").as_deref() == Ok("real") {
            return Some(database);
        }
        skip(reason);
        None
    }

    /// The store, once it has its indexes: the stand-in fails inserts while it makes one, which a real server does not.
    async fn open(&self) -> MongoStore {
        assert_eq!(self.make_indexes().await.unwrap(), []);
        MongoStore::open(self.config.clone()).unwrap()
    }

    async fn make_indexes(&self) -> crate::store::Result<Vec<indexes::Obstacle>> {
        indexes::try_to_make(&Connection::new(self.config.clone())).await
    }

    /// The collection, past the store.
    async fn documents(&self) -> Documents {
        documents(&self.config).await
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let config = self.config.clone();
        // Neither can be waited for here: a runtime must not be entered from within another.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let client = Client::with_uri_str(config.server_url.expose()).await.ok();
                if let Some(client) = client {
                    let _ = client.database(&config.database).drop().await;
                }
            });
            Ok::<_, std::io::Error>(())
        });
        let _ = dropping.join();
    }
}

fn config(uri: &str, database: String) -> MongoConfig {
    MongoConfig {
        server_url: Secret::new(uri),
        username: None,
        password: None,
        database,
        collection: "sessions".into(),
        auth_source: None,
        tls_ca_file: None,
        tls_certificate_key_file: None,
    }
}

async fn documents(config: &MongoConfig) -> Documents {
    let client = Client::with_options(config.client_options().await.unwrap()).unwrap();
    client.database(&config.database).collection(&config.collection)
}

async fn open() -> Option<Fixture> {
    let database = Database::new()?;
    let store = database.open().await;
    Some(Fixture::with(store, database))
}

conformance_tests!(open);
