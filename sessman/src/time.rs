//! Moments, and the clock that says which one it is.

mod system;

use std::fmt;
use std::time::{Duration, SystemTime};

pub use system::SystemClock;

/// A moment in UTC, in whole milliseconds since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since 1970-01-01 UTC.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This moment and `duration` later; the last representable moment instead of an overflow.
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This moment and `duration` earlier; the first representable moment instead of an overflow.
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long from `earlier` to this moment; zero if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl From<Timestamp> for SystemTime {
    /// A moment before 1970 becomes 1970: no session has one.
    fn from(timestamp: Timestamp) -> Self {
        SystemTime::UNIX_EPOCH + timestamp.since(Timestamp(0))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds: `2026-01-02T03:04:05.678Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis(SystemTime::from(*self)).fmt(f)
    }
}

/// Where the engine gets the time from, so that tests need not wait for it.
pub trait Clock: Send + Sync {
    /// The present moment. Never earlier than one it gave before.
    fn now(&self) -> Timestamp;
}

/// A clock that stands still until it is told to go on.
#[derive(Debug)]
pub struct ManualClock(std::sync::atomic::AtomicI64);

impl ManualClock {
    /// A clock that stands at `start`.
    pub fn new(start: Timestamp) -> Self {
        Self(start.as_millis().into())
    }

    /// Lets `duration` pass at once.
    pub fn advance(&self, duration: Duration) {
        let now = self.now().after(duration);
        self.0.store(now.as_millis(), std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }
}
