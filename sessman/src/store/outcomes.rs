//! Arguments and results of operations on one record.

use std::sync::Arc;

use crate::id::{Handle, SecretHash};
use crate::mark::Mark;
use crate::record::Record;
use crate::time::Timestamp;

/// Whether [`Store::create`](super::Store::create) wrote the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The record was written.
    Yes,
    /// A live record with that handle exists; nothing was changed.
    Exists,
}

/// What [`Store::load`](super::Store::load) found.
#[derive(Debug, Clone, PartialEq)]
pub enum Loaded {
    /// The live record.
    Live(Arc<Record>),
    /// A record that is expired but still stored; still encrypted if the store encrypts.
    Expired(Arc<Record>),
    /// No record.
    Missing,
}

impl Loaded {
    /// The result for a `record` found in a store: live or expired at `now`.
    pub fn of(record: Option<Arc<Record>>, now: Timestamp) -> Self {
        match record {
            Some(record) if record.is_live(now) => Self::Live(record),
            Some(record) => Self::Expired(record),
            None => Self::Missing,
        }
    }

    /// The record if it is live.
    pub fn live(self) -> Option<Arc<Record>> {
        match self {
            Self::Live(record) => Some(record),
            Self::Expired(_) | Self::Missing => None,
        }
    }
}

/// The precondition of a [`Change`](crate::record::Change): what must not have happened to the record since it was read.
/// Always required: the same incarnation ([`Record::mark`]), the same secret, and a live record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unless {
    /// Nothing more: other writes are accepted.
    Gone,
    /// Its version or its terms have changed.
    Changed,
    /// Its version, its terms or its last activity have changed: there was any write at all. The last activity alone would not
    /// tell two writes of one millisecond apart.
    Written,
}

impl Unless {
    /// Whether the stored record still matches the one that was `read`; `None` if it is another session or has another secret.
    pub fn is_met(self, read: &Record, stored: &Record) -> Option<bool> {
        let is_unchanged = || stored.version == read.version && stored.terms() == read.terms();
        (stored.mark == read.mark && stored.secret_hash == read.secret_hash).then(|| match self {
            Self::Gone => true,
            Self::Changed => is_unchanged(),
            Self::Written => stored.last_activity == read.last_activity && is_unchanged(),
        })
    }
}

/// The result of a [`Change`](crate::record::Change).
#[derive(Debug, Clone, PartialEq)]
pub enum Updated {
    /// It was applied.
    Done {
        /// The record after the change.
        record: Arc<Record>,
        /// When the session would have expired without the change.
        lived_until: Timestamp,
    },
    /// The session is live and the secret matches, but the precondition failed; this is the version now.
    Conflict(u64),
    /// There is no live record with that handle, mark and secret.
    Missing,
}

/// A record to delete, live or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Its handle.
    pub handle: Handle,
    /// Only this incarnation; `None` for any.
    pub mark: Option<Mark>,
    /// Only with this secret; `None` for any.
    pub secret_hash: Option<SecretHash>,
    /// Only if it was not written to since then; `None` for any state.
    pub last_activity: Option<Timestamp>,
    /// Only with this version; `None` for any.
    pub version: Option<u64>,
}

impl Target {
    /// This incarnation, with any secret and any writes.
    pub fn incarnation(handle: Handle, mark: Mark) -> Self {
        Self { mark: Some(mark), ..Self::whatever(handle) }
    }

    /// Any record with this handle.
    pub fn whatever(handle: Handle) -> Self {
        Self { handle, mark: None, secret_hash: None, last_activity: None, version: None }
    }

    /// Whether `record` matches.
    pub fn is(&self, record: &Record) -> bool {
        let Self { handle, mark, secret_hash, last_activity, version } = *self;
        handle == record.handle
            && mark.is_none_or(|mark| mark == record.mark)
            && secret_hash.is_none_or(|secret_hash| secret_hash == record.secret_hash)
            && last_activity.is_none_or(|moment| moment == record.last_activity)
            && version.is_none_or(|version| version == record.version)
    }
}
