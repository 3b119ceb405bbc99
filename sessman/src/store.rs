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
mod tail;

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::budget::Budget;
use crate::config::StoreConfig;
use crate::id::{Handle, SecretHash};
use crate::mark::Mark;
use crate::record::{Change, Outline, Record, Summary};
use crate::time::{Clock, Timestamp};
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

/// What must not have happened to a record since it was read, for a [`Change`] to be made. In any case it is the same
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
    fn is_met(self, read: &Record, stored: &Record) -> Option<bool> {
        (stored.mark == read.mark && stored.secret_hash == read.secret_hash).then(|| match self {
            Self::Gone => true,
            Self::Changed => stored.version == read.version,
            Self::Written => stored.last_activity == read.last_activity,
        })
    }
}

/// What became of a [`Change`].
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
    fn is(&self, record: &Record) -> bool {
        let Self { handle, mark, secret_hash, last_activity } = *self;
        handle == record.handle
            && mark.is_none_or(|mark| mark == record.mark)
            && secret_hash.is_none_or(|secret_hash| secret_hash == record.secret_hash)
            && last_activity.is_none_or(|moment| moment == record.last_activity)
    }
}

/// What [`Store::outlines`] found of one handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outlined {
    /// A record, live or not.
    Found(Outline),
    /// Something that this build cannot read.
    Unreadable,
    /// No record.
    Missing,
}

/// Counts of records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// Sessions that exist.
    pub active: u64,
    /// Records past their `expires_at` that are still stored.
    pub expired: u64,
    /// Of the sessions that exist, those that began at each of the moments that were asked for, or later.
    pub since: Vec<u64>,
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
    /// A place that it has already counts for nothing: it asks for the last one.
    pub moves_last: bool,
    /// Those that came before it, for a user of whom nothing is written down yet.
    pub earlier: Option<&'a [Handle]>,
}

/// What became of a [`Claim`]. Lists are in the order of arrival, and may hold handles of sessions that have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// It has its place; the user's handles, its own among them.
    Done(Vec<Handle>),
    /// There is no room for it; the user's handles. If it had a place, it has that one still.
    Full(Vec<Handle>),
    /// Nothing is written down of that user, and nothing was said of earlier sessions; or it was written down only now.
    /// It is to be tried again.
    Unknown,
}

/// The places of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Whose they are.
    pub user_id: String,
    /// In the order of arrival.
    pub handles: Vec<Handle>,
}

/// The places of some users, and where to go on.
#[derive(Debug, Clone, Default)]
pub struct PlacesPage {
    /// Each user once.
    pub users: Vec<Places>,
    /// Pass it as `after` for the next page; `None` after the last. What it is, the store knows alone.
    pub next: Option<String>,
}

/// Some records or summaries, and where to go on.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// In the order of their handles.
    pub items: Vec<T>,
    /// Handles, in the same range, of what is stored and cannot be read.
    pub unread: Vec<Handle>,
    /// Pass it as `after` for the next page; `None` after the last.
    pub next: Option<Handle>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self { items: Vec::new(), unread: Vec::new(), next: None }
    }
}

/// A page ends, short, once its items take so many bytes of memory. It has one at least.
pub const PAGE_BYTES: usize = 4 << 20;

/// Which sessions [`Store::list`] gives.
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

    /// Whether a new session had better have this handle than another one, as handles are drawn by chance: one for which
    /// fewer servers, and none that is unreachable, have to be asked.
    fn suits(&self, _handle: Handle) -> bool {
        true
    }

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

    /// Makes `change` if the live record is still the one that was `read`, in one atomic step: the same mark and secret,
    /// and nothing happened that `unless` names. Never creates a record. Whether it lives is compared when the change is
    /// made, by the engine's clock where the store is in this process, else by `change.now`.
    async fn update(&self, read: &Record, unless: Unless, change: &Change) -> Result<Updated>;

    /// Deletes records, live or not, each in one atomic step in which it is what its target says. The handles of those
    /// that it deleted, or that others deleted meanwhile where the store cannot tell; none that is there still. Each
    /// handle is named by one target at most.
    async fn delete(&self, targets: &[Target]) -> Result<Vec<Handle>>;

    /// What is stored under each of these handles, in their order, without data and metadata.
    async fn outlines(&self, handles: &[Handle]) -> Result<Vec<Outlined>>;

    /// Live sessions in the order of their handles, without their data. One that exists from the first page to the last is
    /// on exactly one of them, whatever is written meanwhile. A page may be short, or empty, although others follow.
    async fn list(&self, listing: Listing<'_>, now: Timestamp) -> Result<Page<Summary>>;

    /// Live records as a whole, as [`list`](Self::list) gives summaries of all users.
    async fn records(&self, after: Option<Handle>, limit: usize, now: Timestamp)
    -> Result<Page<Arc<Record>>>;

    /// Counts what is stored; see [`Counts::since`] for the moments.
    async fn counts(&self, now: Timestamp, since: &[Timestamp]) -> Result<Counts>;

    /// Puts the handle at the end of its user's, unless it is among them, in one atomic step. With `room`, only if it
    /// is then among so many first ones. Places know nothing of records: whose have ended is for the caller to say.
    async fn claim(&self, claim: Claim<'_>) -> Result<Claimed>;

    /// Takes handles away from a user.
    async fn release(&self, user_id: &str, handles: &[Handle]) -> Result<()>;

    /// The handles that a user has, in the order of arrival.
    async fn places(&self, user_id: &str) -> Result<Vec<Handle>>;

    /// The places of about `limit` users, each of whom has one at least. An entry that cannot be read is passed over and
    /// reported with its user.
    async fn all_places(&self, after: Option<&str>, limit: usize) -> Result<PlacesPage>;

    /// Forgets the places of all users.
    async fn forget_places(&self) -> Result<()>;

    /// Whether other processes, whose clocks may differ from ours, work on the same records.
    fn is_shared(&self) -> bool {
        false
    }

    /// Whether this process is to do the clean-up that one of all processes at a store does at a time; it is asked again
    /// for each clean-up, at the latest when `period` is over, and whoever has it keeps it. A store of this process alone
    /// says yes.
    async fn leads_cleanup(&self, _period: Duration) -> Result<bool> {
        Ok(true)
    }

    /// Puts in order what the store keeps beside records and places, as much as is done at a time.
    async fn tidy(&self, _now: Timestamp) -> Result<()> {
        Ok(())
    }

    /// Deletes at most `limit` records that are expired at `now`; fewer than `limit` means that none is left. Where
    /// others delete them too, at the same time, both may name the same ones.
    async fn purge_expired(&self, now: Timestamp, limit: usize) -> Result<Vec<Purged>>;

    /// Deletes every record and forgets every claim; the number of records.
    async fn clear(&self) -> Result<u64>;

    /// Whether the store can be reached, and sessions can be created, changed and deleted in it: in all of it, or with
    /// [`StoreError::Partial`] in some of it.
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
/// Must be called in a tokio runtime, which the store then does its work on. `clock` is the one that the engine goes by.
///
/// # Errors
/// What is wrong and what to do about it.
pub fn open(
    config: &StoreConfig,
    clock: &Arc<dyn Clock>,
    keys: Option<&Keys>,
    budget: &Arc<dyn Budget>,
) -> Result<Arc<dyn Store>> {
    let store: Arc<dyn Store> = match config {
        StoreConfig::Memory(config) => {
            Arc::new(memory::MemoryStore::drawing(config.clone(), Arc::clone(clock), budget))
        }
        StoreConfig::Sqlite(config) => {
            Arc::new(sqlite::SqliteStore::open(config.clone(), Arc::clone(clock), budget)?)
        }
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
