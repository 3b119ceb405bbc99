//! The keys for the rules of sessions.

use std::time::Duration;

use settings::Problem;

use super::raw::RawConfig;
use super::values::{MAX_SECONDS, choice, number, seconds};
use crate::rules::{OnLimit, OnMaxTtl, Rules, Sliding, UpdateMode};

/// Bounded, as every session of a user is checked when another one begins.
const MAX_SESSIONS_PER_USER: u64 = 1_000;
/// Data and metadata of this size each stay below MongoDB's 16 MiB for a document: at worst, an array of one-digit numbers,
/// JSON grows sixfold as BSON.
const MAX_DATA_BYTES: usize = 1 << 20;
/// One per millisecond.
const MAX_NEW_RATE: u64 = 60_000;

impl RawConfig {
    /// The rules; problems are added to `problems`.
    pub(super) fn rules(&self, problems: &mut Vec<Problem>) -> Rules {
        let default = Rules::default();
        let idle_timeout = seconds("idle_timeout", self.idle_timeout, problems);
        let sliding = [("update", Sliding::Update), ("access", Sliding::Access)];
        let max_idle = number("max_idle", self.max_idle, 0..=MAX_SECONDS, "seconds", problems);
        let limit = number(
            "max_sessions_per_user",
            self.max_sessions_per_user,
            0..=MAX_SESSIONS_PER_USER,
            "sessions",
            problems,
        );
        let max_data_bytes = self.max_data_bytes.map(|bytes| bytes as u64);
        let max_data_bytes =
            number("max_data_bytes", max_data_bytes, 2..=MAX_DATA_BYTES as u64, "bytes", problems);
        let new_rate = number("new_rate", self.new_rate, 0..=MAX_NEW_RATE, "sessions a minute", problems);
        Rules {
            session_ttl: seconds("session_ttl", self.session_ttl, problems).unwrap_or(default.session_ttl),
            max_ttl: seconds("max_ttl", self.max_ttl, problems).unwrap_or(default.max_ttl),
            on_max_ttl: choice(
                "on_max_ttl",
                self.on_max_ttl.as_deref(),
                &[("refuse", OnMaxTtl::Refuse), ("cut", OnMaxTtl::Cut)],
                problems,
            ),
            sliding: self.sliding.as_ref().map(|text| choice("sliding", Some(text), &sliding, problems)),
            idle_timeout,
            max_idle: match max_idle {
                Some(0) => None,
                Some(longest) => Some(Duration::from_secs(longest)),
                None => idle_timeout,
            },
            absolute_ttl: seconds("absolute_ttl", self.absolute_ttl, problems),
            touch_interval: number(
                "touch_interval",
                self.touch_interval,
                0..=MAX_SECONDS,
                "seconds",
                problems,
            )
            .map(Duration::from_secs),
            max_sessions_per_user: limit
                .and_then(|limit| usize::try_from(limit).ok())
                .filter(|limit| *limit > 0),
            on_limit: choice(
                "on_limit",
                self.on_limit.as_deref(),
                &[("evict_oldest", OnLimit::EvictOldest), ("reject", OnLimit::Reject)],
                problems,
            ),
            new_rate: new_rate.and_then(|rate| u32::try_from(rate).ok()).filter(|rate| *rate > 0),
            bind_ip: self.bind_ip.unwrap_or(default.bind_ip),
            update_mode: choice(
                "update_mode",
                self.update_mode.as_deref(),
                &[("replace", UpdateMode::Replace), ("merge", UpdateMode::Merge)],
                problems,
            ),
            require_match: self.require_match.unwrap_or(default.require_match),
            max_data_bytes: max_data_bytes
                .and_then(|bytes| usize::try_from(bytes).ok())
                .unwrap_or(default.max_data_bytes),
        }
    }
}
