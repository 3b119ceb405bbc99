//! One at a time per session, within this process.

use tokio::sync::{Mutex, MutexGuard};

use crate::id::Handle;

/// Locks that sessions share: two sessions behind the same one wait for each other now and then, which costs less
/// than keeping a lock for every session.
const STRIPES: usize = 256;

/// The locks.
pub(super) struct Turns {
    stripes: Vec<Mutex<()>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { stripes: (0..STRIPES).map(|_| Mutex::new(())).collect() }
    }
}

impl Turns {
    /// Waits for the session's turn, in the order of asking.
    pub(super) async fn take(&self, handle: Handle) -> MutexGuard<'_, ()> {
        // Handles of sessions are random or hashes, and a byte has as many values as there are stripes. Who makes up handles to
        // crowd one of them could as well send the handle of a session.
        self.stripes[usize::from(handle.as_bytes()[2])].lock().await
    }
}
