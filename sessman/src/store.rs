//! The store contract: what the engine asks of a place that keeps sessions.
//!
//! A store knows nothing of rules. It keeps records, tells live ones from others, and makes each call one atomic
//! step. The module `conformance` says what that means, case by case, and runs for every store.

#[cfg(test)]
pub mod conformance;
pub mod memory;
pub mod mongodb;
pub mod redis;
pub mod sealed;
pub mod shell;
pub mod sqlite;

use std::error::Error as StdError;
use std::sync::Arc;

use async_trait::async_trait;

use crate::config::StoreConfig;
use crate::id::{Handle, SecretHash};
use crate::record::{Change, Record};
use crate::time::Timestamp;
use sealed::{Keys, SealedStore};

/// Whether [`Store::create`] wrote the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It did.
    Yes,
    /// A live record has that handle already; nothing was changed.
    Exists,
}

/// What [`Store::load`] found.
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
    fn of(record: Option<Arc<Record>>, now: Timestamp) -> Self {
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

/// What an existing record must be like for a [`Change`] to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// The id that the caller holds still opens the session.
    pub secret_hash: SecretHash,
    /// Nobody changed it since the caller read it; `None` for whatever version it has.
    pub version: Option<u64>,
    /// Nobody wrote to it at all since the caller read it; `None` for whatever was written.
    pub last_activity: Option<Timestamp>,
}

impl Expected {
    /// A session that this secret opens, whatever was written to it.
    pub fn holder(secret_hash: SecretHash) -> Self {
        Self { secret_hash, version: None, last_activity: None }
    }

    /// Whether the record is as it should be; `None` if the secret does not open it.
    fn is_met_by(&self, record: &Record) -> Option<bool> {
        (record.secret_hash == self.secret_hash).then(|| {
            self.version.is_none_or(|version| version == record.version)
                && self.last_activity.is_none_or(|moment| moment == record.last_activity)
        })
    }
}

/// What became of a [`Change`].
#[derive(Debug, Clone, PartialEq)]
pub enum Updated {
    /// It was made; the record as it is now.
    Done(Arc<Record>),
    /// The session lives and the secret is right, but it was written to; the version is this one.
    Conflict(u64),
    /// No live record has that handle and secret.
    Missing,
}

/// Counts of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Sessions that exist.
    pub active: u64,
    /// Records past their `expires_at` that are still stored.
    pub expired: u64,
}

/// A record that was removed because its time was over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purged {
    /// The session that it was.
    pub handle: Handle,
    /// Whose it was.
    pub user_id: Option<String>,
}

impl Purged {
    fn of(record: &Record) -> Self {
        Self { handle: record.handle, user_id: record.user_id.clone() }
    }
}

/// A session that asks for a place among its user's.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Whose session it is.
    pub user_id: &'a str,
    /// The session.
    pub handle: Handle,
    /// Only a place among so many first ones will do; `None` for any.
    pub room: Option<usize>,
    /// Those that came before it, for a user of whom nothing is written down yet.
    pub earlier: Option<&'a [Handle]>,
}

/// What became of a [`Claim`]. Lists are in the order of arrival, and may hold handles of sessions that have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// It has its place; the user's handles, its own among them.
    Done(Vec<Handle>),
    /// There is no room for it; the user's handles.
    Full(Vec<Handle>),
    /// Nothing is written down of that user, and nothing was said of earlier sessions; or it was written down only now.
    /// It is to be tried again.
    Unknown,
}

/// Some records, and where to go on.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// In the order of their handles.
    pub records: Vec<Arc<Record>>,
    /// Pass it as `after` for the next page; `None` after the last.
    pub next: Option<Handle>,
}

/// Which records [`Store::list`] gives.
#[derive(Debug, Clone, Copy, Default)]
pub struct Listing<'a> {
    /// Only this user's.
    pub user_id: Option<&'a str>,
    /// Only those with a greater handle.
    pub after: Option<Handle>,
    /// At most so many; at least 1.
    pub limit: usize,
}

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

/// What a store says of itself to an administrator.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checkup {
    /// What keeps the sessions, with its version.
    pub server: String,
    /// What its clock says; `None` where that is this machine's.
    pub clock: Option<Timestamp>,
    /// What is wrong and what to do about it, a line each.
    pub problems: Vec<String>,
    /// What may be meant, and what comes of it.
    pub hints: Vec<String>,
}

/// Which state of a SQLite file is read beside its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// At each call what is there then.
    Present,
    /// At each call what was there when it was opened.
    Snapshot,
}

/// Shorthand for what every call of a store returns.
pub type Result<T> = std::result::Result<T, StoreError>;

/// A place that keeps sessions.
///
/// `now` is the engine's clock: a record is live while `now < expires_at`, whatever the server's own clock says
/// and whether or not it has removed the record. Where no `now` is passed, expiry does not matter.
#[async_trait]
pub trait Store: Send + Sync {
    /// Stores a new record, replacing an expired one with the same handle in the same atomic step.
    async fn create(&self, record: Arc<Record>, now: Timestamp) -> Result<Created>;

    /// The record with that handle.
    async fn load(&self, handle: Handle, now: Timestamp) -> Result<Loaded>;

    /// Whether [`load_now`](Self::load_now) may find something.
    fn has_records_at_hand(&self) -> bool {
        false
    }

    /// What [`load`](Self::load) would find, where that is at hand and nothing has to be waited for.
    fn load_now(&self, _handle: Handle, _now: Timestamp) -> Option<Result<Loaded>> {
        None
    }

    /// Makes `change` if the live record is as `expected`, in one atomic step. Never creates a record.
    async fn update(&self, handle: Handle, expected: Expected, change: &Change) -> Result<Updated>;

    /// Deletes the record, live or not, if its secret is the given one (`None`: whatever it is). Says whether it did.
    async fn delete(&self, handle: Handle, secret_hash: Option<SecretHash>) -> Result<bool>;

    /// Live records in the order of their handles. One that exists from the first page to the last is on exactly
    /// one of them, whatever is written meanwhile. A page may be short, or empty, although others follow.
    async fn list(&self, listing: Listing<'_>, now: Timestamp) -> Result<Page>;

    /// Counts what is stored.
    async fn counts(&self, now: Timestamp) -> Result<Counts>;

    /// How many live records were created at each of these moments or later.
    async fn counts_since(&self, now: Timestamp, moments: &[Timestamp]) -> Result<Vec<u64>>;

    /// Puts the handle at the end of its user's, unless it is among them, in one atomic step. With `room`, only if it
    /// is then among so many first ones. Places know nothing of records: whose have ended is for the caller to say.
    async fn claim(&self, claim: Claim<'_>) -> Result<Claimed>;

    /// Takes handles away from a user.
    async fn release(&self, user_id: &str, handles: &[Handle]) -> Result<()>;

    /// Takes away the handles without a live record of some users, about `limit` of them, and forgets the users who then
    /// have none. The result is what to pass as `after` to go on, `None` at the end; what it is, the store knows alone.
    async fn tidy_claims(&self, now: Timestamp, after: Option<&str>, limit: usize) -> Result<Option<String>>;

    /// Forgets the places of all users.
    async fn forget_claims(&self) -> Result<()>;

    /// Deletes at most `limit` records that are expired at `now`; fewer than `limit` means that none is left. Where
    /// others delete them too, at the same time, both may name the same ones.
    async fn purge_expired(&self, now: Timestamp, limit: usize) -> Result<Vec<Purged>>;

    /// Deletes every record and forgets every claim; the number of records.
    async fn clear(&self) -> Result<u64>;

    /// Whether the store can be reached and written to: all of it, or with [`StoreError::Partial`] some of it.
    async fn ping(&self) -> Result<()>;

    /// What it counts of its own, in the text format of Prometheus.
    fn metrics(&self) -> String {
        String::new()
    }

    /// What an administrator should know of the store, beside its records. It changes nothing, and may take its time.
    async fn checkup(&self) -> Result<Checkup> {
        Ok(Checkup::default())
    }

    /// Lets go of files, locks and connections, after everything that was asked before is done.
    async fn close(&self);
}

/// Opens the store that is configured, with `keys` to encrypt what is in it. It may block on files; a server is not
/// waited for.
///
/// Must be called in a tokio runtime, which the store then does its work on.
///
/// # Errors
/// What is wrong and what to do about it.
pub fn open(config: &StoreConfig, keys: Option<&Keys>) -> Result<Arc<dyn Store>> {
    let store: Arc<dyn Store> = match config {
        StoreConfig::Memory(config) => Arc::new(memory::MemoryStore::new(config.clone())),
        StoreConfig::Sqlite(config) => Arc::new(sqlite::SqliteStore::open(config.clone())?),
        StoreConfig::MongoDb(config) => Arc::new(mongodb::MongoStore::open(config.clone())?),
        StoreConfig::Redis(config) => Arc::new(redis::RedisStore::open(config)?),
    };
    Ok(sealed(store, keys))
}

/// As [`open`], to read from: whoever else works on the store is not disturbed, and nothing is made that is missing. A
/// SQLite file is read beside its owner; a server is that which [`open`] would use.
///
/// # Errors
/// As those of [`open`], and for sessions in memory, which no other process can see.
pub fn open_to_read(config: &StoreConfig, keys: Option<&Keys>, view: View) -> Result<Arc<dyn Store>> {
    let store: Arc<dyn Store> = match config {
        StoreConfig::Memory(_) => {
            return Err(StoreError::Unusable(
                "sessions in memory are seen by their own process alone".into(),
            ));
        }
        StoreConfig::Sqlite(config) => Arc::new(sqlite::SqliteView::open(config, view)?),
        StoreConfig::MongoDb(config) => Arc::new(mongodb::MongoStore::open_as_it_is(config.clone())?),
        StoreConfig::Redis(config) => Arc::new(redis::RedisStore::open(config)?),
    };
    Ok(sealed(store, keys))
}

fn sealed(store: Arc<dyn Store>, keys: Option<&Keys>) -> Arc<dyn Store> {
    match keys {
        Some(keys) => Arc::new(SealedStore::new(store, keys.clone())),
        None => store,
    }
}
