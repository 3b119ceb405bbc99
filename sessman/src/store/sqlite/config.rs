//! The configuration keys of the SQLite store.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use settings::Problem;

use super::settings::{CACHE_BYTES, Durability, SqliteConfig};
use super::state::SqliteStore;
use super::view::SqliteView;
use crate::budget::Budget;
use crate::config::Surroundings;
use crate::config::values::{choice, problem};
use crate::store::backend::{Backend, BackendKeys, Fit, Sharing, View};
use crate::store::shell::Shell;
use crate::store::{Result, Store};
use crate::time::Clock;

/// The keys as written.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::store) struct SqliteKeys {
    /// SQLite: the file; a relative path is relative to the state folder.
    ///
    /// Default: `<instance>.db`.
    #[serde(deserialize_with = "settings::loose::option")]
    path: Option<String>,
    /// SQLite: the same as `path`, where `backend` is `sqlite`.
    ///
    /// Default: none.
    #[serde(deserialize_with = "settings::loose::text_or_number")]
    database: Option<String>,
    /// SQLite: with `full` an acknowledged write survives power loss, with `normal` only the end of the process.
    ///
    /// Default: `full`.
    #[serde(deserialize_with = "settings::loose::option")]
    durability: Option<String>,
    /// SQLite: memory to cache sessions, about 700 bytes a session; 0 for no cache.
    ///
    /// Default: 67108864.
    #[serde(deserialize_with = "settings::loose::option")]
    cache_bytes: Option<usize>,
}

impl BackendKeys for SqliteKeys {
    const NAME: &'static str = "sqlite";

    type Backend = SqliteConfig;

    fn fit(server_url: Option<&str>) -> Fit {
        if server_url.is_none() { Fit::Possible } else { Fit::Not }
    }

    fn check(self, surroundings: &Surroundings<'_>) -> std::result::Result<SqliteConfig, Vec<Problem>> {
        let mut problems = Vec::new();
        if self.path.is_some() && self.database.is_some() {
            problems.push(problem("database", "means the same as `path` for SQLite; write one of them"));
        }
        let path = self.path.or(self.database).unwrap_or_else(|| format!("{}.db", surroundings.instance));
        let words = [("full", Durability::Full), ("normal", Durability::Normal)];
        let config = SqliteConfig {
            path: surroundings.file(&path),
            durability: choice("durability", self.durability.as_deref(), &words, &mut problems),
            cache_bytes: self.cache_bytes.unwrap_or(CACHE_BYTES),
        };
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }
}

impl Backend for SqliteConfig {
    fn name(&self) -> &'static str {
        SqliteKeys::NAME
    }

    fn open(&self, clock: &Arc<dyn Clock>, budget: &Arc<dyn Budget>) -> Result<Arc<dyn Store>> {
        Ok(Arc::new(SqliteStore::open(self.clone(), Arc::clone(clock), budget)?))
    }

    fn open_to_read(&self, view: View) -> Result<Arc<dyn Store>> {
        Ok(Arc::new(SqliteView::open(self, view)?))
    }

    fn describe(&self) -> String {
        format!("SQLite, {}", self.path.display())
    }

    fn is_same_place(&self, other: &dyn Backend) -> bool {
        let path = |config: &Self| -> PathBuf { config.path.canonicalize().unwrap_or(config.path.clone()) };
        other.downcast_ref::<Self>().is_some_and(|other| path(self) == path(other))
    }

    fn sharing(&self) -> Sharing {
        Sharing::Owned
    }

    /// Its folder.
    fn prepare(&self) -> io::Result<()> {
        self.path.parent().map_or(Ok(()), std::fs::create_dir_all)
    }

    /// Read-only: the owner alone may write, and its cache would not notice other writes.
    fn shell(&self) -> std::result::Result<Option<Shell>, Problem> {
        Ok(Some(Shell {
            program: "sqlite3",
            install: "the package sqlite3",
            arguments: vec!["-readonly".into(), self.path.clone().into()],
            environment: Vec::new(),
        }))
    }

    fn hints(&self) -> Vec<&'static str> {
        match self.durability {
            Durability::Full => Vec::new(),
            Durability::Normal => {
                vec!["`durability` is normal: a loss of power takes the last answered writes"]
            }
        }
    }
}
