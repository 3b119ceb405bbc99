//! Counts of sessions, and how long one serves.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// How many live sessions are so old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByAge {
    /// Younger than this, and not younger than the one before; `None` for the rest.
    pub below: Option<Duration>,
    /// So many.
    pub sessions: u64,
}

/// Counts of sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Sessions that live.
    pub active: u64,
    /// Records past their time that are still stored.
    pub expired: u64,
    /// The live ones, by the time since they began.
    pub by_age: Vec<ByAge>,
}

/// Counts that took long to find, and until when they serve.
#[derive(Debug, Default)]
pub(super) struct CountedLately(pub(super) Mutex<Option<(Stats, Instant)>>);
