//! The rules that sessions follow, as configured.

use std::time::Duration;

use crate::record::{Life, Record, Times, TtlSource};
use crate::time::Timestamp;

/// What an update without a word about it does to the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateMode {
    /// The new data stands alone.
    Replace,
    /// The new data is merged into the old (RFC 7396).
    Merge,
}

/// What counts as activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sliding {
    /// A change, a touch, a new id.
    Update,
    /// These, and reading.
    Access,
}

/// What happens to a user's session beyond the most that are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLimit {
    /// The oldest one ends.
    EvictOldest,
    /// The new one is refused.
    Reject,
}

/// The rules that sessions follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Time to live of a session that asks for none of its own.
    pub session_ttl: Duration,
    /// The longest time to live that a session may ask for.
    pub max_ttl: Duration,
    /// What counts as activity.
    pub sliding: Sliding,
    /// A session ends after so long without activity.
    pub idle_timeout: Option<Duration>,
    /// A session ends so long after it began, whatever happens.
    pub absolute_ttl: Option<Duration>,
    /// Reading is written down as activity at most this often; `None` for a twentieth of the shorter of time to live
    /// and idle timeout.
    pub touch_interval: Option<Duration>,
    /// The most sessions of a user; `None` for any number.
    pub max_sessions_per_user: Option<usize>,
    /// What happens to one more.
    pub on_limit: OnLimit,
    /// The most sessions that begin in a minute, for an address and for a user; `None` for any number.
    pub new_rate: Option<u32>,
    /// A session is found only from the address that it began from.
    pub bind_ip: bool,
    /// What an update without a word about it does.
    pub update_mode: UpdateMode,
    /// Whether an update must say which version it is meant for.
    pub require_match: bool,
    /// The most bytes that data may have as compact JSON, and metadata too.
    pub max_data_bytes: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            session_ttl: Duration::from_secs(86_400),
            max_ttl: Duration::from_secs(30 * 86_400),
            sliding: Sliding::Update,
            idle_timeout: None,
            absolute_ttl: None,
            touch_interval: None,
            max_sessions_per_user: None,
            on_limit: OnLimit::EvictOldest,
            new_rate: None,
            bind_ip: false,
            update_mode: UpdateMode::Replace,
            require_match: false,
            max_data_bytes: 262_144,
        }
    }
}

impl Rules {
    /// Until when the session lives by the rules that are in force now, whatever they were when it was written.
    pub fn ends_at(&self, life: &Life) -> Timestamp {
        let own_ttl = match life.ttl_source {
            TtlSource::Configured => None,
            TtlSource::Caller | TtlSource::Unknown => Some(life.ttl.min(self.longest_ttl())),
        };
        let ends = [
            own_ttl.map(|ttl| life.reset_at.after(ttl)),
            self.idle_timeout.map(|idle_timeout| life.last_activity.after(idle_timeout)),
            self.absolute_ttl.map(|absolute_ttl| life.created_at.after(absolute_ttl)),
        ];
        ends.into_iter().flatten().fold(life.expires_at, Timestamp::min)
    }

    /// Whether the session lives at `now` by the rules that are in force.
    pub fn is_live(&self, life: &Life, now: Timestamp) -> bool {
        now < life.expires_at && now < self.ends_at(life)
    }

    /// The times of a session that is active at `now` and whose time to live starts again.
    pub fn reset(&self, life: &Life, now: Timestamp) -> Times {
        self.times(life.created_at, self.ttl(life), now, now)
    }

    /// As [`reset`](Self::reset), for a session that somebody uses. Where it matters whether one was ever used, its time to
    /// live starts a millisecond before: by that it is told from one that has just begun.
    pub fn renewed(&self, life: &Life, now: Timestamp) -> Times {
        self.used(life, now, now)
    }

    fn used(&self, life: &Life, reset_at: Timestamp, now: Timestamp) -> Times {
        let is_told = self.tells_use();
        let before = now.before(Duration::from_millis(1));
        let reset_at = if is_told { reset_at.min(before) } else { reset_at };
        self.times(life.created_at, self.ttl(life), reset_at, now)
    }

    /// The times that reading a session at `now` gives it; `None` where that is no activity, or has been written down
    /// a short while ago.
    pub fn activity(&self, record: &Record, now: Timestamp) -> Option<Times> {
        if self.is_first_use(record) && now > record.last_activity {
            let (reset_at, expires_at) = (record.reset_at, record.expires_at);
            return Some(Times { reset_at, last_activity: now, expires_at });
        }
        let life = record.life();
        let ttl = self.ttl(&life);
        let is_due =
            now > record.last_activity && now.since(record.last_activity) >= self.activity_interval(ttl);
        if self.sliding == Sliding::Update || !is_due {
            return None;
        }
        // With an idle timeout it is that which activity puts off.
        let reset_at = if self.idle_timeout.is_some() { record.reset_at } else { now };
        Some(self.used(&life, reset_at, now))
    }

    /// Whether it matters if a session was ever used.
    fn tells_use(&self) -> bool {
        self.max_sessions_per_user.is_some() && self.on_limit == OnLimit::Reject
    }

    /// Whether this use of the session is to be written down whatever counts as activity: where logins over the limit
    /// are refused, a session that was never used may have been begun for somebody who never got its id.
    fn is_first_use(&self, record: &Record) -> bool {
        self.tells_use() && record.user_id.is_some() && record.life().was_never_used()
    }

    /// The time to live of a session that is renewed.
    fn ttl(&self, life: &Life) -> Duration {
        match life.ttl_source {
            TtlSource::Configured => self.session_ttl,
            TtlSource::Caller | TtlSource::Unknown => life.ttl.min(self.longest_ttl()),
        }
    }

    fn longest_ttl(&self) -> Duration {
        self.max_ttl.max(self.session_ttl)
    }

    /// A session that is read once in every interval must not end of it, so it is half its time at most.
    fn activity_interval(&self, ttl: Duration) -> Duration {
        let shorter = self.idle_timeout.map_or(ttl, |idle_timeout| idle_timeout.min(ttl));
        self.touch_interval.map_or(shorter / 20, |interval| interval.min(shorter / 2))
    }

    fn times(
        &self,
        created_at: Timestamp,
        ttl: Duration,
        reset_at: Timestamp,
        last_activity: Timestamp,
    ) -> Times {
        let ends = [
            Some(reset_at.after(ttl)),
            self.idle_timeout.map(|idle_timeout| last_activity.after(idle_timeout)),
            self.absolute_ttl.map(|absolute_ttl| created_at.after(absolute_ttl)),
        ];
        let expires_at = ends.into_iter().flatten().min().unwrap_or(reset_at);
        Times { reset_at, last_activity, expires_at }
    }
}
