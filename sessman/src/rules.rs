//! The rules that sessions follow, as configured.

use std::time::Duration;

use crate::record::Times;
use crate::time::Timestamp;

/// What an update without a word about it does to the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateMode {
    /// The new data stands alone.
    Replace,
    /// The new data is merged into the old (RFC 7396).
    Merge,
}

/// The rules that sessions follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Time to live of a session that asks for none of its own.
    pub session_ttl: Duration,
    /// The longest time to live that a session may ask for.
    pub max_ttl: Duration,
    /// What an update without a word about it does.
    pub update_mode: UpdateMode,
    /// The most bytes that data may have as compact JSON, and metadata too.
    pub max_data_bytes: usize,
}

impl Rules {
    /// The times of a session that is active at `now` and whose time to live begins again.
    pub fn reset(&self, now: Timestamp, ttl: Duration) -> Times {
        Times { reset_at: now, last_activity: now, expires_at: now.after(ttl) }
    }
}
