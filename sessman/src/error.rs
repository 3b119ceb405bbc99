//! Errors of the engine, and how they are formatted.

use crate::data::DataError;
use crate::store::StoreError;

/// Errors of the engine. Unless said otherwise, nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no live session with that id, or it is another user's: the two are not distinguished.
    #[error("no such session")]
    NotFound,
    /// Precondition failed: the session has another version.
    #[error("the session has changed: it is at version {version} now")]
    Changed {
        /// Its version now.
        version: u64,
    },
    /// The user has reached the limit of sessions.
    #[error(
        "the user has {limit} live sessions, as many as are allowed (max_sessions_per_user); end one first"
    )]
    LimitReached {
        /// The limit.
        limit: usize,
    },
    /// The session belongs to another user, which cannot change.
    #[error("the session is another user's; end it and create one")]
    OtherUser,
    /// A live session has this external id.
    #[error("a live session has that external_id already")]
    Exists,
    /// More sessions match than are to be ended.
    #[error("more than {at_most} sessions match (at_most), so none was ended; ask with dry_run how many")]
    TooManyMatch {
        /// The most that were to be ended.
        at_most: u64,
    },
    /// Rate limit: too many new sessions in a minute.
    #[error("too many new sessions (new_rate); try again in {retry_after} s")]
    TooMany {
        /// Seconds until the next one is allowed.
        retry_after: u64,
    },
    /// Precondition required: the update does not name a version.
    #[error("an update must say which version it is meant for; send If-Match with the ETag of the session")]
    VersionRequired,
    /// Too much contention: the session was changed concurrently at each attempt to merge.
    #[error("too many concurrent changes of this session; try again")]
    Contended,
    /// The data is not JSON, or not every store can hold it.
    #[error(transparent)]
    Data(#[from] DataError),
    /// More bytes than `max_data_bytes`.
    #[error("{what} has {length} bytes as JSON; at most {limit} are accepted")]
    TooLarge {
        /// `data`, `metadata` or a patch for `data`.
        what: &'static str,
        /// Its length as compact JSON text.
        length: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// An invalid parameter.
    #[error("{0}")]
    Invalid(String),
    /// The store failed; whether a write took place is unknown.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An error and its sources, in one line.
pub fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
