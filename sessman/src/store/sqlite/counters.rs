//! Write counters.

use std::sync::atomic::{AtomicU64, Ordering};

/// Write counters since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteCounts {
    /// Calls that the writer replied to.
    pub writes: u64,
    /// Transactions that changed the file: each waits for one sync of the disk.
    pub commits: u64,
}

/// The counters behind [`WriteCounts`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) writes: AtomicU64,
    pub(super) commits: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> WriteCounts {
        WriteCounts {
            writes: self.writes.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
        }
    }
}
