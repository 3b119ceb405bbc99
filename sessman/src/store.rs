//! The store contract: what the engine asks of a place that keeps sessions.
//!
//! A store knows nothing of rules. It keeps records, tells live ones from others, and makes each call one atomic
//! step. The module `conformance` says what that means, case by case, and runs for every store.
//!
//! - here: [`Store`], which every store implements; `outcomes`, `pages`, `places`, `error`: what its methods take and
//!   give
//! - [`backend`]: a store that is configured and not yet open; `backends`: the table of those that this build has;
//!   `opening`: from one to the other
//! - [`memory`], [`sqlite`], [`mongodb`], [`redis`]: the stores, each with its keys of `sessman.json`
//! - [`sealed`]: any of them, encrypted
//! - [`shell`]: the program to look into one with; `tail`: a part of a record that several of them keep alike
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

/// A place that keeps sessions.
///
/// `now` is the engine's clock: a record is live while `now < expires_at`, whatever the server's own clock says
/// and whether or not it has removed the record. Where no `now` is passed, expiry does not matter.
///
/// The engine asks a store through [`Sessions`](crate::sessions::Sessions); by itself it is used like this:
///
/// ```
/// # #[cfg(feature = "memory")] {
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use sessman::data::Data;
/// use sessman::id::SessionId;
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
