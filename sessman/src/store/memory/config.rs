//! The configuration keys of the memory store.

use std::sync::Arc;

use serde::Deserialize;
use settings::Problem;

use super::settings::MemoryConfig;
use super::store::MemoryStore;
use crate::budget::Budget;
use crate::config::Surroundings;
use crate::store::backend::{Backend, BackendKeys, Fit, Sharing, View};
use crate::store::shell::Shell;
use crate::store::{Result, Store, StoreError};
use crate::time::Clock;

/// The keys as written.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::store) struct MemoryKeys {
    /// memory: the most bytes that sessions may take.
    ///
    /// Default: 268435456.
    #[serde(deserialize_with = "settings::loose::option")]
    max_memory_bytes: Option<usize>,
}

impl BackendKeys for MemoryKeys {
    const NAME: &'static str = "memory";

    type Backend = MemoryConfig;

    fn fit(_: Option<&str>) -> Fit {
        Fit::Not
    }

    fn check(self, _: &Surroundings<'_>) -> std::result::Result<MemoryConfig, Vec<Problem>> {
        Ok(self.max_memory_bytes.map_or_else(MemoryConfig::default, |max_bytes| MemoryConfig { max_bytes }))
    }
}

impl Backend for MemoryConfig {
    fn name(&self) -> &'static str {
        MemoryKeys::NAME
    }

    fn open(&self, clock: &Arc<dyn Clock>, budget: &Arc<dyn Budget>) -> Result<Arc<dyn Store>> {
        Ok(Arc::new(MemoryStore::drawing(self.clone(), Arc::clone(clock), budget)))
    }

    fn open_to_read(&self, _: View) -> Result<Arc<dyn Store>> {
        Err(StoreError::Unusable("sessions in memory are seen by their own process alone".into()))
    }

    fn describe(&self) -> String {
        "memory".into()
    }

    /// Each process has its own memory.
    fn is_same_place(&self, _: &dyn Backend) -> bool {
        false
    }

    fn sharing(&self) -> Sharing {
        Sharing::Private
    }

    fn shell(&self) -> std::result::Result<Option<Shell>, Problem> {
        Ok(None)
    }
}
