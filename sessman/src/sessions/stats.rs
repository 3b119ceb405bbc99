//! Counts of sessions, and how long a count is cached.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// The number of live sessions in one age class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByAge {
    /// Upper bound of the age, exclusive; the bound of the previous class is the lower one. `None` for the oldest class.
    pub below: Option<Duration>,
    /// Sessions in this class.
    pub sessions: u64,
}

/// Counts of sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Live sessions.
    pub active: u64,
    /// Expired records that are still stored.
    pub expired: u64,
    /// The live ones, by age since creation.
    pub by_age: Vec<ByAge>,
}

/// A count that was slow to compute, and until when it is served from the cache.
#[derive(Debug, Default)]
pub(super) struct CountedLately(pub(super) Mutex<Option<(Stats, Instant)>>);
