//! One at a time per session, within this process.

use std::hash::{BuildHasher, RandomState};

use tokio::sync::{Mutex, MutexGuard};

use crate::id::Handle;

/// Locks that sessions share: two sessions behind the same one wait for each other now and then, which costs less
/// than keeping a lock for every session.
const STRIPES: usize = 256;

/// The locks.
pub(super) struct Turns {
    stripes: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl Default for Turns {
    fn default() -> Self {
        Self { stripes: (0..STRIPES).map(|_| Mutex::new(())).collect(), hasher: RandomState::new() }
    }
}

impl Turns {
    /// Waits for the session's turn, in the order of asking.
    pub(super) async fn take(&self, handle: Handle) -> MutexGuard<'_, ()> {
        let stripe = self.hasher.hash_one(handle) as usize % STRIPES;
        self.stripes[stripe].lock().await
    }
}
