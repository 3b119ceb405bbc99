//! The storage trait: what the engine requires of a place that keeps sessions.
//!
//! A store knows nothing of rules. It keeps records, tells live ones from expired ones, and makes each call atomic. The
//! module `conformance` specifies the behaviour case by case, and runs for every store.
//!
//! - here: [`Store`], the trait of every store; `outcomes`, `pages`, `places`, `error`: arguments and results of its methods
//! - [`backend`]: a store that is configured and not yet open; `backends`: the table of those in this build;
//!   `opening`: opens a configured one
//! - [`memory`], [`sqlite`], [`mongodb`], [`redis`]: the stores, each with its keys of `sessman.json`
//! - [`sealed`]: a wrapper that encrypts any of them
//! - [`shell`]: the command-line client of a store; `tail`: a part of a record that several stores encode alike
//!
//! A new store is a folder here with its `mod`, a line in the table of `backends`, and a cargo feature of its name.

pub mod backend;
pub(crate) mod backends;
#[cfg(test)]
pub mod conformance;
mod error;
#[cfg(feature = "memory")]
pub mod memory;
#[cfg(feature = "mongodb")]
pub mod mongodb;
mod opening;
mod outcomes;
mod pages;
mod places;
#[cfg(feature = "redis")]
pub mod redis;
pub mod sealed;
pub mod shell;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(any(feature = "redis", feature = "sqlite"))]
mod tail;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use backend::View;
pub use error::{Result, StoreError};
pub use opening::{open, open_to_read};
pub use outcomes::{Created, Loaded, Target, Unless, Updated};
pub use pages::{Counts, Listing, Outlined, PAGE_BYTES, Page, Purged};
pub use places::{Claim, Claimed, Places, PlacesPage};

use crate::id::Handle;
use crate::record::{Change, Record, Summary};
use crate::time::Timestamp;

/// A store's report for an administrator.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checkup {
    /// Name and version of the server or library that keeps the sessions.
    pub server: String,
    /// The server's clock; `None` where it is this machine's.
    pub clock: Option<Timestamp>,
    /// Problems, each with its remedy, one line each.
    pub problems: Vec<String>,
    /// Settings that may be intended, each with its consequence.
    pub hints: Vec<String>,
}

/// A place that keeps sessions.
///
/// `now` is the engine's clock: a record is live while `now < expires_at`, whatever the server's own clock says
/// and whether or not it has removed the record. Where no `now` is passed, expiry does not matter.
///
/// The engine uses a store through [`Sessions`](crate::sessions::Sessions). This is how to use one directly:
///
/// ```
/// # #[cfg(feature = "memory")] {
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use sessman::data::Data;
/// use sessman::id::SessionId;
/// use sessman::labels::Labels;
/// use sessman::mark::Mark;
/// use sessman::record::{Change, Record, Times, TtlSource};
/// use sessman::store::memory::{MemoryConfig, MemoryStore};
/// use sessman::store::{Created, Loaded, Store, Unless, Updated};
/// use sessman::time::{Clock, SystemClock};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let clock = Arc::new(SystemClock::start());
/// let store = MemoryStore::new(MemoryConfig::default(), clock.clone());
/// let (id, now, ttl) = (SessionId::generate(), clock.now(), Duration::from_secs(60));
/// let record = Arc::new(Record {
///     handle: id.handle(),
///     mark: Mark::new(now),
///     secret_hash: id.secret_hash(),
///     user_id: None,
///     auth_time: None,
///     data: Data::parse(r#"{"cart":[]}"#)?,
///     metadata: Data::empty(),
///     created_at: now,
///     updated_at: now,
///     reset_at: now,
///     last_activity: now,
///     ttl,
///     ttl_source: TtlSource::Configured,
///     idle: None,
///     persistent: false,
///     labels: Labels::none(),
///     expires_at: now.after(ttl),
///     version: 1,
///     mac: None,
/// });
/// assert_eq!(store.create(record.clone(), now).await?, Created::Yes);
///
/// // A write names what must not have happened since the record was read.
/// let times = Times { reset_at: now, last_activity: now, expires_at: now.after(2 * ttl) };
/// let change = Change { data: Some(Data::parse(r#"{"cart":[7]}"#)?), ..Change::touch(now, times) };
/// let updated = store.update(&record, Unless::Changed, &change).await?;
/// assert!(matches!(updated, Updated::Done { record, .. } if record.version == 2));
/// assert_eq!(store.update(&record, Unless::Changed, &change).await?, Updated::Conflict(2));
///
/// // Past its time it does not exist, whether or not it is still stored.
/// let later = now.after(3 * ttl);
/// assert!(matches!(store.load(id.handle(), later).await?, Loaded::Expired(_)));
/// assert_eq!(store.purge_expired(later, 10).await?.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// # }
/// ```
#[async_trait]
pub trait Store: Send + Sync {
    /// Stores a new record. An expired record with the same handle is replaced in the same atomic step.
    async fn create(&self, record: Arc<Record>, now: Timestamp) -> Result<Created>;

    /// Whether this handle is a good choice for a new session. Handles are random, so the caller can draw another. A good one
    /// lies on a shard that is reachable, and needs the fewest servers.
    fn suits(&self, _handle: Handle) -> bool {
        true
    }

    /// The record with this handle.
    async fn load(&self, handle: Handle, now: Timestamp) -> Result<Loaded>;

    /// Whether [`load_now`](Self::load_now) can ever return a record: whether there is a cache.
    fn has_records_at_hand(&self) -> bool {
        false
    }

    /// The result of [`load`](Self::load), if it is cached and can be returned without waiting.
    fn load_now(&self, _handle: Handle, _now: Timestamp) -> Option<Result<Loaded>> {
        None
    }

    /// Compare-and-set: applies `change` in one atomic step if the live record is still the one that was `read`. That is: mark
    /// and secret are the same, and nothing that `unless` names has happened. Never creates a record. Expiry is checked when
    /// the change is applied: by the engine's clock where the store is in this process, else by `change.now`.
    async fn update(&self, read: &Record, unless: Unless, change: &Change) -> Result<Updated>;

    /// Deletes records, live or not. Each is deleted in one atomic step, only if it matches its target. Returns the handles of
    /// those deleted; where the store cannot tell, also of those that others deleted meanwhile. A handle whose record still
    /// exists is never returned. At most one target names each handle.
    async fn delete(&self, targets: &[Target]) -> Result<Vec<Handle>>;

    /// The record stored under each of these handles, in their order, without data and metadata.
    async fn outlines(&self, handles: &[Handle]) -> Result<Vec<Outlined>>;

    /// Live sessions in the order of their handles, without their data. A session that exists from the first page to the last
    /// is on exactly one of them, whatever is written meanwhile. A page may be short, or empty, although others follow.
    async fn list(&self, listing: Listing<'_>, now: Timestamp) -> Result<Page<Summary>>;

    /// Live records with their data, of all users, in pages like those of [`list`](Self::list).
    async fn records(&self, after: Option<Handle>, limit: usize, now: Timestamp)
    -> Result<Page<Arc<Record>>>;

    /// Counts what is stored; for `since` see [`Counts::since`].
    async fn counts(&self, now: Timestamp, since: &[Timestamp]) -> Result<Counts>;

    /// Appends the handle to its user's list of places in one atomic step, unless it is in the list. With `room`, only if it is
    /// then among the first `room` places. Places know nothing of records: the caller finds out which sessions have ended.
    async fn claim(&self, claim: Claim<'_>) -> Result<Claimed>;

    /// Removes handles from a user's places.
    async fn release(&self, user_id: &str, handles: &[Handle]) -> Result<()>;

    /// The handles in a user's places, in the order of arrival.
    async fn places(&self, user_id: &str) -> Result<Vec<Handle>>;

    /// The places of about `limit` users, each with at least one place. An unreadable entry is skipped and logged with its
    /// user.
    async fn all_places(&self, after: Option<&str>, limit: usize) -> Result<PlacesPage>;

    /// Deletes the places of all users.
    async fn forget_places(&self) -> Result<()>;

    /// Whether other processes, with clocks that may differ, use the same records.
    fn is_shared(&self) -> bool {
        false
    }

    /// Leader election for the clean-up: of all processes at a store, one leads at a time. Called before each clean-up, at the
    /// latest after `period`; the leader keeps its lease by calling again. A store of a single process always returns `true`.
    async fn leads_cleanup(&self, _period: Duration) -> Result<bool> {
        Ok(true)
    }

    /// One bounded step of maintenance of what the store keeps besides records and places, such as indexes.
    async fn tidy(&self, _now: Timestamp) -> Result<()> {
        Ok(())
    }

    /// Deletes at most `limit` records that are expired at `now`; fewer than `limit` means that none is left. If others delete
    /// at the same time, both may report the same records.
    async fn purge_expired(&self, now: Timestamp, limit: usize) -> Result<Vec<Purged>>;

    /// Deletes all records and places; returns the number of records.
    async fn clear(&self) -> Result<u64>;

    /// Whether the store is reachable and sessions can be created, changed and deleted. [`StoreError::Partial`] if this holds
    /// for a part of the store only.
    async fn ping(&self) -> Result<()>;

    /// The store's own metrics, in the Prometheus text format.
    fn metrics(&self) -> String {
        String::new()
    }

    /// Diagnosis of the store for an administrator. Changes nothing, and may be slow.
    async fn checkup(&self) -> Result<Checkup> {
        Ok(Checkup::default())
    }

    /// Closes files, locks and connections after all calls made before have finished.
    async fn close(&self);
}
