//! From a configured store to an open one.

use std::sync::Arc;

use super::Store;
use super::backend::{Backend, View};
use super::error::Result;
use super::sealed::{Keys, SealedStore};
use crate::budget::Budget;
use crate::time::Clock;

/// Opens the store that is configured, with `keys` to encrypt what is in it. It may block on files; a server is not
/// waited for.
///
/// Must be called in a tokio runtime, which the store then does its work on. `clock` is the one that the engine goes by.
///
/// # Errors
/// What is wrong and what to do about it.
pub fn open(
    backend: &dyn Backend,
    clock: &Arc<dyn Clock>,
    keys: Option<&Keys>,
    budget: &Arc<dyn Budget>,
) -> Result<Arc<dyn Store>> {
    Ok(sealed(backend.open(clock, budget)?, keys))
}

/// As [`open`], to read from: whoever else works on the store is not disturbed, and nothing is made that is missing. A
/// SQLite file is read beside its owner; a server is that which [`open`] would use.
///
/// # Errors
/// As those of [`open`], and for sessions in memory, which no other process can see.
pub fn open_to_read(backend: &dyn Backend, keys: Option<&Keys>, view: View) -> Result<Arc<dyn Store>> {
    Ok(sealed(backend.open_to_read(view)?, keys))
}

fn sealed(store: Arc<dyn Store>, keys: Option<&Keys>) -> Arc<dyn Store> {
    match keys {
        Some(keys) => Arc::new(SealedStore::new(store, keys.clone())),
        None => store,
    }
}
