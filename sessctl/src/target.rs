//! Writes records into a store, many concurrently.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use sessman::budget::Unlimited;
use sessman::record::Record;
use sessman::store::backend::Sharing;
use sessman::store::sealed::{Keys, SealedStore};
use sessman::store::{self, Created, Loaded, Store, StoreError};
use sessman::time::{Clock, SystemClock, Timestamp};

use crate::pages::{Pages, Reading};
use crate::retry::while_unavailable;
use crate::site::Site;

/// The result for one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// It was written.
    Written,
    /// It existed already.
    Same,
    /// A different live session has its handle, or the same one in another state; that one stays.
    Kept,
}

/// The number of each result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) written: u64,
    pub(crate) same: u64,
    pub(crate) kept: u64,
}

/// A store to write records to.
pub(crate) struct Target {
    pub(crate) store: Arc<dyn Store>,
    /// The same store, below the encryption.
    pub(crate) stored: Arc<dyn Store>,
    /// Whether it encrypts, and makes its own MACs for what is written.
    is_sealed: bool,
    clock: Arc<dyn Clock>,
    room: Room,
}

impl Target {
    /// Opens the store of the site. With `keys`, records are encrypted with them; without, they are written as they are.
    ///
    /// # Errors
    /// The store's; a SQLite file that pserve owns is rejected.
    pub(crate) fn open(site: &Site, keys: Option<&Keys>) -> Result<Self> {
        // As pserve does at its start, which may not have happened yet.
        site.config.store.prepare()?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let stored = store::open(&*site.config.store, &clock, None, &Unlimited::shared()).map_err(
            |error| match error {
                StoreError::InUse(said) => {
                    anyhow::anyhow!("{said}; pserve has to be stopped while records are put in")
                }
                other => other.into(),
            },
        )?;
        // SQLite commits waiting writes in groups; a server has a limited number of connections.
        let room = match site.config.store.sharing() {
            Sharing::Owned => Room::new(512, 512),
            Sharing::Private | Sharing::Shared => Room::new(16, 64),
        };
        Ok(Self::over(stored, keys, clock, room))
    }

    fn over(stored: Arc<dyn Store>, keys: Option<&Keys>, clock: Arc<dyn Clock>, room: Room) -> Self {
        let store: Arc<dyn Store> = match keys {
            Some(keys) => Arc::new(SealedStore::new(Arc::clone(&stored), keys.clone())),
            None => Arc::clone(&stored),
        };
        Self { store, stored, is_sealed: keys.is_some(), clock, room }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether it has no live sessions.
    pub(crate) async fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(Pages::new(&*self.stored, Reading::AsStored, self.now()).peek().await?.is_none())
    }

    /// Finishes the work. The lists of the users' places do not include the new sessions, so they are deleted: they are then
    /// rebuilt from all sessions, and the limit of sessions per user holds.
    pub(crate) async fn end(self) -> Result<(), StoreError> {
        let forgotten = while_unavailable(|_| self.store.forget_places()).await;
        self.store.close().await;
        forgotten
    }

    /// Writes one record, unless a live session has its handle.
    pub(crate) async fn put(&self, record: &Arc<Record>) -> Result<Put, StoreError> {
        let put = while_unavailable(|attempt| {
            if attempt > 0 {
                self.room.halve();
            }
            self.try_to_put(record)
        });
        let put = put.await?;
        self.room.succeeded();
        Ok(put)
    }

    async fn try_to_put(&self, record: &Arc<Record>) -> Result<Put, StoreError> {
        loop {
            if self.store.create(Arc::clone(record), self.now()).await? == Created::Yes {
                return Ok(Put::Written);
            }
            match self.store.load(record.handle, self.now()).await {
                Ok(Loaded::Live(found)) if self.is_same(&found, record) => return Ok(Put::Same),
                // A record that cannot be read is different in any case.
                Ok(Loaded::Live(_)) | Err(StoreError::Unusable(_)) => return Ok(Put::Kept),
                // It ended in between.
                Ok(Loaded::Expired(_) | Loaded::Missing) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn is_same(&self, found: &Record, record: &Record) -> bool {
        let mac = if self.is_sealed { record.mac } else { found.mac };
        Record { mac, ..found.clone() } == *record
    }

    /// Starts concurrent writes.
    pub(crate) fn writes(&self) -> Writes<'_> {
        Writes { target: self, under_way: FuturesUnordered::new(), tally: Tally::default() }
    }
}

/// Limit of concurrent writes, adapted to the store. A store that is overloaded would fall further behind with retries. So the
/// limit is lowered on failures, and raised slowly after successes.
struct Room {
    now: AtomicUsize,
    most: usize,
    successes: AtomicUsize,
}

impl Room {
    fn new(now: usize, most: usize) -> Self {
        Self { now: now.into(), most, successes: AtomicUsize::new(0) }
    }

    fn now(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }

    fn halve(&self) {
        self.now.store((self.now() / 2).max(1), Ordering::Relaxed);
        self.successes.store(0, Ordering::Relaxed);
    }

    fn succeeded(&self) {
        let now = self.now();
        // After several rounds of successes at the current limit.
        if self.successes.fetch_add(1, Ordering::Relaxed) >= 4 * now && now < self.most {
            self.now.store(now + 1, Ordering::Relaxed);
            self.successes.store(0, Ordering::Relaxed);
        }
    }
}

/// Concurrent writes of records.
pub(crate) struct Writes<'a> {
    target: &'a Target,
    under_way: FuturesUnordered<futures_util::future::BoxFuture<'a, Result<Put, StoreError>>>,
    tally: Tally,
}

impl Writes<'_> {
    /// Adds one; waits while too many are in progress.
    pub(crate) async fn add(&mut self, record: Arc<Record>) -> Result<(), StoreError> {
        let target = self.target;
        self.under_way.push(Box::pin(async move { target.put(&record).await }));
        while self.under_way.len() >= self.target.room.now() {
            self.count_one().await?;
        }
        Ok(())
    }

    /// Waits for all.
    pub(crate) async fn end(mut self) -> Result<Tally, StoreError> {
        while !self.under_way.is_empty() {
            self.count_one().await?;
        }
        Ok(self.tally)
    }

    async fn count_one(&mut self) -> Result<(), StoreError> {
        match self.under_way.next().await.transpose()? {
            Some(Put::Written) => self.tally.written += 1,
            Some(Put::Same) => self.tally.same += 1,
            Some(Put::Kept) => self.tally.kept += 1,
            None => {}
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One over a store that a test has.
    pub(crate) fn target(stored: &Arc<dyn Store>, keys: Option<&Keys>) -> Target {
        Target::over(Arc::clone(stored), keys, Arc::new(SystemClock::start()), Room::new(4, 4))
    }

    #[test]
    fn a_store_that_does_not_keep_up_is_asked_less_and_slowly_more() {
        let room = Room::new(16, 17);
        for _ in 0..1_000 {
            room.succeeded();
        }
        assert_eq!(room.now(), 17);
        room.halve();
        assert_eq!(room.now(), 8);
        for _ in 0..20 {
            room.halve();
        }
        assert_eq!(room.now(), 1);
        for _ in 0..5 {
            room.succeeded();
        }
        assert_eq!(room.now(), 2);
    }
}
