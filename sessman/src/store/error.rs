//! Why a store did not do what it was asked.

use std::error::Error as StdError;

/// Why a store did not do what it was asked. Unless said otherwise, whether a write that ended so took place is unknown.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It could not be reached, or not in time; the next call may go well.
    #[error("the session store is not available")]
    Unavailable(#[source] Box<dyn StdError + Send + Sync>),
    /// One of several servers could not be reached, and the others can be used.
    #[error("a part of the session store is not available")]
    Partial(#[source] Box<dyn StdError + Send + Sync>),
    /// The write was made, and too few replicas have it: a failover may undo it.
    #[error("done, but not yet on as many replicas as wait_replicas asks for")]
    NotReplicated(#[source] Box<dyn StdError + Send + Sync>),
    /// It is bounded and full of live sessions.
    #[error("the session store is full")]
    Full,
    /// It answered, but not with something this build can work with.
    #[error("the session store cannot be used: {0}")]
    Unusable(String),
    /// It has one owner, which is another process.
    #[error("the session store cannot be used: {0}")]
    InUse(String),
}

/// Shorthand for what every call of a store returns.
pub type Result<T> = std::result::Result<T, StoreError>;
