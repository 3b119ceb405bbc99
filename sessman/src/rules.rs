//! The rules that sessions follow, as configured.

use std::time::Duration;

use crate::record::{Life, Record, Times, TtlSource};
use crate::time::Timestamp;

/// How an update that does not say so treats the existing data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateMode {
    /// The new data replaces the old.
    Replace,
    /// The new data is merged into the old (RFC 7396).
    Merge,
}

/// What counts as activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sliding {
    /// An update, a touch, a rotation.
    Update,
    /// These, and reads.
    Access,
}

/// What happens when a caller asks for a longer time to live than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMaxTtl {
    /// The request is rejected.
    Refuse,
    /// The session gets the longest one.
    Cut,
}

/// What happens when a user is over the limit of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLimit {
    /// The oldest session is evicted.
    EvictOldest,
    /// The new session is rejected.
    Reject,
}

/// The rules that sessions follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Time to live of a session that does not request its own.
    pub session_ttl: Duration,
    /// The longest time to live that can be requested.
    pub max_ttl: Duration,
    /// What a caller gets who asks for more than that.
    pub on_max_ttl: OnMaxTtl,
    /// What counts as activity; `None` for reads too where the session has an idle timeout, as a client that reads is not
    /// idle.
    pub sliding: Option<Sliding>,
    /// Idle timeout: a session expires after this long without activity.
    pub idle_timeout: Option<Duration>,
    /// The longest idle timeout that a session can have of its own; `None` for any, and for none at all.
    pub max_idle: Option<Duration>,
    /// Absolute timeout: a session expires this long after its creation, whatever its activity.
    pub absolute_ttl: Option<Duration>,
    /// The least time between two writes of activity caused by reads; `None` for a twentieth of the shorter of time to live
    /// and idle timeout.
    pub touch_interval: Option<Duration>,
    /// The most live sessions of a user; `None` for no limit.
    pub max_sessions_per_user: Option<usize>,
    /// What happens beyond that limit.
    pub on_limit: OnLimit,
    /// The most new sessions per minute, for each address and each user; `None` for no limit.
    pub new_rate: Option<u32>,
    /// Whether a session is valid only from the client address that created it.
    pub bind_ip: bool,
    /// How an update that does not say so treats the existing data.
    pub update_mode: UpdateMode,
    /// Whether an update must name the version that it applies to.
    pub require_match: bool,
    /// The most bytes of data as compact JSON; the same limit applies to metadata.
    pub max_data_bytes: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            session_ttl: Duration::from_secs(86_400),
            max_ttl: Duration::from_secs(30 * 86_400),
            on_max_ttl: OnMaxTtl::Refuse,
            sliding: None,
            idle_timeout: None,
            max_idle: None,
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
    /// When the session expires by the rules in force now, whatever they were when it was written.
    pub fn ends_at(&self, life: &Life) -> Timestamp {
        let own_ttl = match life.ttl_source {
            TtlSource::Configured => None,
            TtlSource::Caller | TtlSource::Unknown => Some(life.ttl.min(self.longest_ttl())),
        };
        let ends = [
            own_ttl.map(|ttl| life.reset_at.after(ttl)),
            self.idle(life).map(|idle| life.last_activity.after(idle)),
            self.absolute_ttl.map(|absolute_ttl| life.created_at.after(absolute_ttl)),
        ];
        ends.into_iter().flatten().fold(life.expires_at, Timestamp::min)
    }

    /// Whether the session is live at `now` by the rules in force.
    pub fn is_live(&self, life: &Life, now: Timestamp) -> bool {
        now < life.expires_at && now < self.ends_at(life)
    }

    /// The times of a session that is active at `now` and whose time to live restarts.
    pub fn reset(&self, life: &Life, now: Timestamp) -> Times {
        self.times(life, now, now)
    }

    /// Like [`reset`](Self::reset), for a session that is in use. Where the rules need to know whether a session was ever used,
    /// its time to live restarts a millisecond earlier: this tells it from a session that was only created.
    pub fn renewed(&self, life: &Life, now: Timestamp) -> Times {
        self.used(life, now, now)
    }

    /// The times of a session that was renewed under other terms than it has.
    pub(crate) fn restated(&self, life: &Life) -> Times {
        self.times(life, life.reset_at, life.last_activity)
    }

    fn used(&self, life: &Life, reset_at: Timestamp, now: Timestamp) -> Times {
        let is_told = self.tells_use();
        let before = now.before(Duration::from_millis(1));
        let reset_at = if is_told { reset_at.min(before) } else { reset_at };
        self.times(life, reset_at, now)
    }

    /// The times after a read at `now`; `None` if reading is no activity, or if recent activity is already recorded.
    pub fn activity(&self, record: &Record, now: Timestamp) -> Option<Times> {
        if self.is_first_use(record) && now > record.last_activity {
            let (reset_at, expires_at) = (record.reset_at, record.expires_at);
            return Some(Times { reset_at, last_activity: now, expires_at });
        }
        let life = record.life();
        let idle = self.idle(&life);
        let unless_said = if idle.is_some() { Sliding::Access } else { Sliding::Update };
        let is_due = now > record.last_activity
            && now.since(record.last_activity) >= self.activity_interval(self.ttl(&life), idle);
        if self.sliding.unwrap_or(unless_said) == Sliding::Update || !is_due {
            return None;
        }
        // With an idle timeout, activity extends the idle timeout and not the time to live.
        let reset_at = if idle.is_some() { record.reset_at } else { now };
        Some(self.used(&life, reset_at, now))
    }

    /// Whether the rules need to know if a session was ever used.
    fn tells_use(&self) -> bool {
        self.max_sessions_per_user.is_some() && self.on_limit == OnLimit::Reject
    }

    /// Whether this read is the first use of the session and must be recorded whatever counts as activity. Where logins over
    /// the limit are rejected, a never used session may belong to a client that never got its id.
    fn is_first_use(&self, record: &Record) -> bool {
        self.tells_use() && record.user_id.is_some() && record.life().was_never_used()
    }

    /// The time to live of a session whose time restarts.
    fn ttl(&self, life: &Life) -> Duration {
        match life.ttl_source {
            TtlSource::Configured => self.session_ttl,
            TtlSource::Caller | TtlSource::Unknown => life.ttl.min(self.longest_ttl()),
        }
    }

    fn longest_ttl(&self) -> Duration {
        self.max_ttl.max(self.session_ttl)
    }

    /// The idle timeout of a session.
    fn idle(&self, life: &Life) -> Option<Duration> {
        match life.idle {
            None => self.idle_timeout,
            Some(Duration::ZERO) => self.longest_idle(),
            Some(own) => Some(self.longest_idle().map_or(own, |longest| own.min(longest))),
        }
    }

    /// The longest idle timeout that a session can have of its own; `None` for any, and for none at all.
    pub fn longest_idle(&self) -> Option<Duration> {
        self.max_idle.map(|max_idle| self.idle_timeout.map_or(max_idle, |idle| idle.max(max_idle)))
    }

    /// At most half of the session's time, so that a session read once in every interval does not expire.
    fn activity_interval(&self, ttl: Duration, idle: Option<Duration>) -> Duration {
        let shorter = idle.map_or(ttl, |idle| idle.min(ttl));
        self.touch_interval.map_or(shorter / 20, |interval| interval.min(shorter / 2))
    }

    fn times(&self, life: &Life, reset_at: Timestamp, last_activity: Timestamp) -> Times {
        let ends = [
            Some(reset_at.after(self.ttl(life))),
            self.idle(life).map(|idle| last_activity.after(idle)),
            self.absolute_ttl.map(|absolute_ttl| life.created_at.after(absolute_ttl)),
        ];
        let expires_at = ends.into_iter().flatten().min().unwrap_or(reset_at);
        Times { reset_at, last_activity, expires_at }
    }
}
