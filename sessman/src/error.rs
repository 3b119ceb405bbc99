//! Why the engine did not do what it was asked, and how an error is written down.

use crate::data::DataError;
use crate::store::StoreError;

/// Why the engine did not do what it was asked. Unless said otherwise, nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No live session has that id, or it is not that user's: the two look the same.
    #[error("no such session")]
    NotFound,
    /// The session is not at a version that the caller accepts.
    #[error("the session has changed: it is at version {version} now")]
    Changed {
        /// The version it is at.
        version: u64,
    },
    /// The user has as many sessions as are allowed.
    #[error(
        "the user has {limit} live sessions, as many as are allowed (max_sessions_per_user); end one first"
    )]
    LimitReached {
        /// The most that are allowed.
        limit: usize,
    },
    /// The session is another user's, and stays so.
    #[error("the session is another user's; end it and create one")]
    OtherUser,
    /// A live session has the id that the caller chose.
    #[error("a live session has that external_id already")]
    Exists,
    /// The caller chose the session's id.
    #[error("an external_id cannot be rotated; end the session and create one")]
    External,
    /// More sessions begin than are allowed in a minute.
    #[error("too many new sessions (new_rate); try again in {retry_after} s")]
    TooMany {
        /// Seconds until the next one may begin.
        retry_after: u64,
    },
    /// The update does not say which version it is meant for.
    #[error("an update must say which version it is meant for; send If-Match with the ETag of the session")]
    VersionRequired,
    /// Others changed the session again and again while a change was being merged in.
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
    /// Something about a parameter.
    #[error("{0}")]
    Invalid(String),
    /// The store did not do its part; whether a write took place is unknown.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An error and what it comes from, in one line.
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
