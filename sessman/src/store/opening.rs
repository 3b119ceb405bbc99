//! Opens a configured store.

use std::sync::Arc;

use super::Store;
use super::backend::{Backend, View};
use super::error::Result;
use super::sealed::{Keys, SealedStore};
use crate::budget::Budget;
use crate::time::Clock;

/// Opens the configured store, with `keys` for encryption. It may block on files, but does not wait for a server.
///
/// Must be called in a tokio runtime, on which the store then works. `clock` is the engine's clock.
///
/// # Errors
/// What is wrong, with the remedy.
pub fn open(
    backend: &dyn Backend,
    clock: &Arc<dyn Clock>,
    keys: Option<&Keys>,
    budget: &Arc<dyn Budget>,
) -> Result<Arc<dyn Store>> {
    Ok(sealed(backend.open(clock, budget)?, keys))
}

/// Like [`open`], but read-only: does not disturb other users of the store, and creates nothing that is missing. A SQLite
/// file is read beside its owner; of a server it is the one that [`open`] would use.
///
/// # Errors
/// As for [`open`]. Sessions in memory always fail, as no other process can see them.
pub fn open_to_read(backend: &dyn Backend, keys: Option<&Keys>, view: View) -> Result<Arc<dyn Store>> {
    Ok(sealed(backend.open_to_read(view)?, keys))
}

fn sealed(store: Arc<dyn Store>, keys: Option<&Keys>) -> Arc<dyn Store> {
    match keys {
        Some(keys) => Arc::new(SealedStore::new(store, keys.clone())),
        None => store,
    }
}
