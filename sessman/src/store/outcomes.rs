//! One record at a time: what is asked for, and what came of it.

use std::sync::Arc;

use crate::id::{Handle, SecretHash};
use crate::mark::Mark;
use crate::record::Record;
use crate::time::Timestamp;

/// Whether [`Store::create`](super::Store::create) wrote the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It did.
    Yes,
    /// A live record has that handle already; nothing was changed.
    Exists,
}

/// What [`Store::load`](super::Store::load) found.
#[derive(Debug, Clone, PartialEq)]
pub enum Loaded {
    /// The live record.
    Live(Arc<Record>),
    /// A record whose time is over and that is still stored, as it is stored: sealed, if it is.
    Expired(Arc<Record>),
    /// No record.
    Missing,
}

impl Loaded {
    /// What `record`, which was found in a store, is at `now`.
    pub fn of(record: Option<Arc<Record>>, now: Timestamp) -> Self {
        match record {
            Some(record) if record.is_live(now) => Self::Live(record),
            Some(record) => Self::Expired(record),
            None => Self::Missing,
        }
    }

    /// The live record.
    pub fn live(self) -> Option<Arc<Record>> {
        match self {
            Self::Live(record) => Some(record),
            Self::Expired(_) | Self::Missing => None,
        }
    }
}

/// What must not have happened to a record since it was read, for a [`Change`](crate::record::Change) to be made. In any case it is the same
/// incarnation ([`Record::mark`]), its secret is the one that was read, and it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unless {
    /// Whatever was written to it.
    Gone,
    /// Its version is another.
    Changed,
    /// Its last activity is another: somebody wrote to it at all.
    Written,
}

impl Unless {
    /// Whether a stored record is still as it was `read`; `None` if it is another session, or opens with another secret.
    pub fn is_met(self, read: &Record, stored: &Record) -> Option<bool> {
        (stored.mark == read.mark && stored.secret_hash == read.secret_hash).then(|| match self {
            Self::Gone => true,
            Self::Changed => stored.version == read.version,
            Self::Written => stored.last_activity == read.last_activity,
        })
    }
}

/// What became of a [`Change`](crate::record::Change).
#[derive(Debug, Clone, PartialEq)]
pub enum Updated {
    /// It was made.
    Done {
        /// The record as it is now.
        record: Arc<Record>,
        /// Until when it would have lived without the change.
        lived_until: Timestamp,
    },
    /// The session lives and the secret is right, but it was written to; the version is this one.
    Conflict(u64),
    /// No live record has that handle, mark and secret.
    Missing,
}

/// A record that is to be deleted, live or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Its handle.
    pub handle: Handle,
    /// Only if it is this incarnation; `None` for whichever it is.
    pub mark: Option<Mark>,
    /// Only if this secret opens it; `None` for whatever does.
    pub secret_hash: Option<SecretHash>,
    /// Only if nobody wrote to it since then; `None` for whatever was written.
    pub last_activity: Option<Timestamp>,
}

impl Target {
    /// This incarnation, whatever opens it and whatever was written to it.
    pub fn incarnation(handle: Handle, mark: Mark) -> Self {
        Self { mark: Some(mark), ..Self::whatever(handle) }
    }

    /// Whatever has that handle.
    pub fn whatever(handle: Handle) -> Self {
        Self { handle, mark: None, secret_hash: None, last_activity: None }
    }

    /// Whether it is `record`.
    pub fn is(&self, record: &Record) -> bool {
        let Self { handle, mark, secret_hash, last_activity } = *self;
        handle == record.handle
            && mark.is_none_or(|mark| mark == record.mark)
            && secret_hash.is_none_or(|secret_hash| secret_hash == record.secret_hash)
            && last_activity.is_none_or(|moment| moment == record.last_activity)
    }
}
