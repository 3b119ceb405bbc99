//! Errors of a store.

use std::error::Error as StdError;

/// Errors of a store. Unless said otherwise, the outcome of a write that failed so is unknown.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It is unreachable, or missed the deadline; a retry may succeed.
    #[error("the session store is not available")]
    Unavailable(#[source] Box<dyn StdError + Send + Sync>),
    /// One of several servers is unreachable; the others work.
    #[error("a part of the session store is not available")]
    Partial(#[source] Box<dyn StdError + Send + Sync>),
    /// The write was made, but too few replicas acknowledged it: a failover may lose it.
    #[error("done, but not yet on as many replicas as wait_replicas asks for")]
    NotReplicated(#[source] Box<dyn StdError + Send + Sync>),
    /// It is bounded, and full of live sessions.
    #[error("the session store is full")]
    Full,
    /// It replied, but this build cannot work with the reply.
    #[error("the session store cannot be used: {0}")]
    Unusable(String),
    /// Another process owns it.
    #[error("the session store cannot be used: {0}")]
    InUse(String),
}

/// Shorthand for the result of a store call.
pub type Result<T> = std::result::Result<T, StoreError>;
