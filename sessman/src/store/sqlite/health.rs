//! Whether the disk can be trusted with the file.
//!
//! A sync that failed cannot be tried again: Linux drops what it could not write and takes it for written, so that the
//! next sync succeeds and the pages are lost. What was not synced is still in the log, as long as nobody starts the log
//! anew. So a store whose file could not be synced writes nothing more; whoever opens it next copies the whole log.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::file::OwnedFile;
use super::overdue::Overdue;
use crate::store::StoreError;

/// What a caller hears after a sync of the file failed.
#[derive(Debug, thiserror::Error)]
#[error(
    "the disk failed to keep the SQLite file, so nothing is written to it any more; mend the disk, then restart pserve"
)]
struct Untrusted;

/// What this process knows of the disk.
#[derive(Debug, Default)]
pub(super) struct Health {
    untrusted: AtomicBool,
    /// Pages are in the file, and taken for written there, that may not be on disk.
    unsynced: AtomicBool,
    /// There is no room for new sessions.
    full: AtomicBool,
    /// What is known of a log that is not put away.
    pub(super) overdue: Overdue,
    /// Said once; later ones follow from the first.
    said: Mutex<bool>,
}

impl Health {
    /// From now on nothing is written, and nothing read from the file. What is in memory goes on being right.
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

    /// Whether there is no room for new sessions.
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::SeqCst)
    }

    /// Says so; the result is what it was before.
    pub(super) fn set_full(&self, full: bool) -> bool {
        self.full.swap(full, Ordering::SeqCst)
    }

    /// To be told before pages are copied whose sync comes later, and after that sync.
    pub(super) fn set_unsynced(&self, unsynced: bool) {
        self.unsynced.store(unsynced, Ordering::SeqCst);
    }

    /// Whether what was just read from the file can be kept in memory: if the pages that it is in turn out to be lost,
    /// it was old.
    pub(super) fn is_settled(&self) -> bool {
        !self.unsynced.load(Ordering::SeqCst) && !self.is_untrusted()
    }
}
