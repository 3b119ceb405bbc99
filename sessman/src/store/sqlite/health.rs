//! Whether the disk can still be trusted with the file.
//!
//! A failed sync (fsync) cannot be retried: Linux drops the pages that it could not write and marks them clean, so that the
//! next sync succeeds although they are lost. What was not synced is still in the WAL, until the WAL restarts. So after a
//! failed sync the store writes nothing more; the process that opens it next copies the whole WAL again.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::file::OwnedFile;
use super::overdue::Overdue;
use crate::store::StoreError;

/// The error for callers after a sync of the file failed.
#[derive(Debug, thiserror::Error)]
#[error(
    "the disk failed to keep the SQLite file, so nothing is written to it any more; mend the disk, then restart pserve"
)]
struct Untrusted;

/// The state of the disk, as far as this process knows.
#[derive(Debug, Default)]
pub(super) struct Health {
    untrusted: AtomicBool,
    /// Pages were copied into the file that may not be on disk yet.
    unsynced: AtomicBool,
    /// The disk is full: new sessions are rejected.
    full: AtomicBool,
    /// The state of a WAL that is not checkpointed.
    pub(super) overdue: Overdue,
    /// Whether the failure is logged; only the first one is, as later ones follow from it.
    said: Mutex<bool>,
}

impl Health {
    /// From now on nothing is written, and nothing read from the file. Cached records stay valid.
    pub(super) fn distrust(&self, file: &OwnedFile, error: &dyn std::fmt::Display) {
        self.untrusted.store(true, Ordering::SeqCst);
        let mut said = self.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if std::mem::replace(&mut *said, true) {
            return;
        }
        file.mark_unsynced();
        tracing::error!(
            %error,
            "the disk failed to keep {}: writes are refused from now on, and all that was answered is in its -wal file; \
             mend the disk, then restart pserve, which copies that file anew (do not delete it)",
            file.path().display()
        );
    }

    /// Whether a sync of the file failed.
    pub(super) fn is_untrusted(&self) -> bool {
        self.untrusted.load(Ordering::SeqCst)
    }

    /// # Errors
    /// [`StoreError::Unavailable`] if a sync of the file failed.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if self.is_untrusted() { Err(StoreError::Unavailable(Box::new(Untrusted))) } else { Ok(()) }
    }

    /// Whether the disk is too full for new sessions.
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::SeqCst)
    }

    /// Sets that; returns the previous value.
    pub(super) fn set_full(&self, full: bool) -> bool {
        self.full.swap(full, Ordering::SeqCst)
    }

    /// Must be called before pages are copied that are synced later, and after that sync.
    pub(super) fn set_unsynced(&self, unsynced: bool) {
        self.unsynced.store(unsynced, Ordering::SeqCst);
    }

    /// Whether a record just read from the file may be cached. If its pages turn out to be lost, it was stale.
    pub(super) fn is_settled(&self) -> bool {
        !self.unsynced.load(Ordering::SeqCst) && !self.is_untrusted()
    }
}
