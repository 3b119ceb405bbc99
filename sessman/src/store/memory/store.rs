//! The store itself: shards of records, and the users' places.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;

use super::claims::Claims;
use super::settings::MemoryConfig;
use super::shard::{Shard, size_of_record};
use crate::budget::{Budget, Drawn, Kind, Pool, Unlimited};
use crate::id::Handle;
use crate::record::{Change, Record, Summary};
use crate::store::{
    Claim, Claimed, Counts, Created, Listing, Loaded, Outlined, PAGE_BYTES, Page, PlacesPage, Purged, Result,
    Store, StoreError, Target, Unless, Updated,
};
use crate::time::{Clock, Timestamp};

/// A shard holds the handles with the same first six bits, so the shards in sequence are in the order of handles. Handles
/// are random: the shards fill evenly, and requests rarely contend for a lock.
const SHARDS: usize = 64;

/// Memory is taken from the budget in steps of this many bytes.
pub(super) const STEP: usize = 256 * 1024;

/// Records that the clean-up examines per lock of a shard.
const SLICE: usize = 256;

/// Sessions in this process's memory.
pub struct MemoryStore {
    shards: [RwLock<Shard>; SHARDS],
    /// Lock order: before a shard's lock, never while holding one.
    claims: Mutex<Claims>,
    room: Pool,
    clock: Arc<dyn Clock>,
}

/// The limit does not allow this many more bytes.
struct NoRoom(usize);

impl MemoryStore {
    /// An empty store. Expiry is checked by `clock`, the engine's clock, at the time of a write.
    pub fn new(config: MemoryConfig, clock: Arc<dyn Clock>) -> Self {
        Self::drawing(config, clock, &Unlimited::shared())
    }

    /// The same, with its memory charged to `budget`.
    pub fn drawing(config: MemoryConfig, clock: Arc<dyn Clock>, budget: &Arc<dyn Budget>) -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::default()),
            claims: Mutex::default(),
            room: Pool::new(config.max_bytes, STEP, Drawn::new(budget, Kind::Kept)),
            clock,
        }
    }

    /// Approximate memory of records and their indexes, in bytes.
    pub fn used_bytes(&self) -> usize {
        self.room.used()
    }

    fn index(handle: Handle) -> usize {
        usize::from(handle.as_bytes()[0]) * SHARDS / 256
    }

    fn read(&self, index: usize) -> RwLockReadGuard<'_, Shard> {
        // No operation on a shard can panic half way, so the data behind a poisoned lock is consistent.
        self.shards[index].read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, index: usize) -> RwLockWriteGuard<'_, Shard> {
        self.shards[index].write().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self, handle: Handle, now: Timestamp) -> Loaded {
        Loaded::of(self.read(Self::index(handle)).get(handle).cloned(), now)
    }

    /// Calls `change` with the places, and then updates the memory in use.
    fn with_claims<T>(&self, change: impl FnOnce(&mut Claims) -> T) -> T {
        // No operation on them can panic half way either.
        let mut claims: MutexGuard<'_, Claims> = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        let before = claims.bytes();
        let result = change(&mut claims);
        self.room.note(before, claims.bytes());
        result
    }

    /// Stores `record` in place of one of `old_size` bytes. A record that does not grow always fits.
    fn put(
        &self,
        shard: &mut Shard,
        record: Arc<Record>,
        old_size: usize,
    ) -> std::result::Result<(), NoRoom> {
        let new_size = size_of_record(&record);
        match new_size.checked_sub(old_size) {
            Some(more @ 1..) if !self.room.take(more) => return Err(NoRoom(more)),
            Some(_) => {}
            None => self.room.free(old_size - new_size),
        }
        shard.put(record);
        Ok(())
    }

    /// Retries `step` until it fits, dropping expired records as long as there are any. The step takes its shard's lock on each
    /// attempt: freeing memory locks the other shards, and only one lock may be held at a time.
    fn with_room<T>(
        &self,
        now: Timestamp,
        mut step: impl FnMut() -> std::result::Result<T, NoRoom>,
    ) -> Result<T> {
        loop {
            match step() {
                Ok(done) => return Ok(done),
                Err(NoRoom(needed)) => {
                    if !self.drop_expired(now, needed) {
                        return Err(StoreError::Full);
                    }
                }
            }
        }
    }

    /// Drops expired records until `needed` bytes are free; returns whether there were any.
    fn drop_expired(&self, now: Timestamp, needed: usize) -> bool {
        let mut freed = 0;
        for index in 0..SHARDS {
            while freed < needed {
                // In a full store every new session comes here: most shards have nothing to drop, and finding that out must not
                // block readers.
                if !self.read(index).has_due(now) {
                    break;
                }
                freed += self.take_expired(index, now, 64).1;
            }
        }
        freed > 0
    }

    /// A page of what `collect` takes from each shard, converted by `item`; `bytes` is the memory of an item.
    fn page<T>(
        &self,
        after: Option<Handle>,
        limit: usize,
        collect: impl Fn(&Shard, usize, &mut Vec<Arc<Record>>),
        item: impl Fn(&Arc<Record>) -> T,
        bytes: impl Fn(&T) -> usize,
    ) -> Page<T> {
        let (mut page, mut last, mut size) = (Page::default(), None, 0);
        for index in after.map_or(0, Self::index)..SHARDS {
            let mut records = Vec::new();
            // One more than requested shows whether there is a next page.
            collect(&self.read(index), limit.saturating_add(1) - page.items.len(), &mut records);
            for record in &records {
                if page.items.len() == limit || size >= PAGE_BYTES {
                    page.next = last;
                    return page;
                }
                let item = item(record);
                size += bytes(&item);
                page.items.push(item);
                last = Some(record.handle);
            }
        }
        page
    }

    /// Deletes at most `limit` expired records of a shard; returns them and their total bytes.
    fn take_expired(&self, index: usize, now: Timestamp, limit: usize) -> (Vec<Purged>, usize) {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        let mut more = true;
        while more {
            // The lock is released after each slice, so that readers get in.
            let mut shard = self.write(index);
            for _ in 0..SLICE {
                more = taken.len() < limit && shard.has_due(now);
                if !more {
                    break;
                }
                if let Some(record) = shard.take_due(now) {
                    taken.push(Purged { handle: record.handle, user_id: record.user_id.clone() });
                    bytes += size_of_record(&record);
                }
            }
        }
        self.room.free(bytes);
        (taken, bytes)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn create(&self, record: Arc<Record>, now: Timestamp) -> Result<Created> {
        self.with_room(now, || {
            let mut shard = self.write(Self::index(record.handle));
            let old_size = match shard.get(record.handle) {
                Some(old) if old.is_live(now) => return Ok(Created::Exists),
                Some(old) => size_of_record(old),
                None => 0,
            };
            self.put(&mut shard, record.clone(), old_size)?;
            Ok(Created::Yes)
        })
    }

    async fn load(&self, handle: Handle, now: Timestamp) -> Result<Loaded> {
        Ok(self.found(handle, now))
    }

    fn has_records_at_hand(&self) -> bool {
        true
    }

    fn load_now(&self, handle: Handle, now: Timestamp) -> Option<Result<Loaded>> {
        Some(Ok(self.found(handle, now)))
    }

    async fn update(&self, read: &Record, unless: Unless, change: &Change) -> Result<Updated> {
        // `applied_to` builds the whole new record, so every field of the change is covered.
        let Change {
            now,
            secret_hash: _,
            user_id: _,
            data: _,
            metadata: _,
            terms: _,
            labels: _,
            mac: _,
            times: _,
        } = change;
        self.with_room(*now, || {
            let mut shard = self.write(Self::index(read.handle));
            // Checked under the lock: a reader that saw the session as expired did so before.
            let now = self.clock.now().max(*now);
            let Some(old) = shard.get(read.handle).filter(|record| record.is_live(now)) else {
                return Ok(Updated::Missing);
            };
            match unless.is_met(read, old) {
                None => return Ok(Updated::Missing),
                Some(false) => return Ok(Updated::Conflict(old.version)),
                Some(true) => {}
            }
            let (old_size, lived_until) = (size_of_record(old), old.expires_at);
            let record = Arc::new(change.applied_to(old));
            self.put(&mut shard, record.clone(), old_size)?;
            Ok(Updated::Done { record, lived_until })
        })
    }

    async fn delete(&self, targets: &[Target]) -> Result<Vec<Handle>> {
        let mut deleted = Vec::new();
        for target in targets {
            let mut shard = self.write(Self::index(target.handle));
            if shard.get(target.handle).is_some_and(|record| target.is(record))
                && let Some(record) = shard.take(target.handle)
            {
                self.room.free(size_of_record(&record));
                deleted.push(target.handle);
            }
        }
        Ok(deleted)
    }

    async fn outlines(&self, handles: &[Handle]) -> Result<Vec<Outlined>> {
        let outlined = |handle: &Handle| match self.read(Self::index(*handle)).get(*handle) {
            Some(record) => Outlined::Found(record.outline()),
            None => Outlined::Missing,
        };
        Ok(handles.iter().map(outlined).collect())
    }

    async fn list(&self, listing: Listing<'_>, now: Timestamp) -> Result<Page<Summary>> {
        let Listing { user_id, label, after, limit } = listing;
        let collect = |shard: &Shard, missing, into: &mut Vec<Arc<Record>>| match (user_id, label) {
            (Some(user_id), label) => {
                let has_label = |record: &Record| label.is_none_or(|label| record.labels.has(label));
                shard.collect_some(shard.of_user(user_id), has_label, after, now, missing, into);
            }
            (None, Some(label)) => {
                shard.collect_some(shard.of_label(label), |_| true, after, now, missing, into);
            }
            (None, None) => shard.collect(after, now, missing, into),
        };
        let summary = |record: &Arc<Record>| record.summary();
        Ok(self.page(after, limit, collect, summary, Summary::bytes))
    }

    async fn records(
        &self,
        after: Option<Handle>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page<Arc<Record>>> {
        let collect = |shard: &Shard, missing, into: &mut Vec<_>| shard.collect(after, now, missing, into);
        Ok(self.page(after, limit, collect, Arc::clone, |record| record.bytes()))
    }

    async fn counts(&self, now: Timestamp, since: &[Timestamp]) -> Result<Counts> {
        let mut counts = Counts { since: vec![0; since.len()], ..Counts::default() };
        for index in 0..SHARDS {
            let shard = self.read(index);
            let (active, expired) = shard.counts(now);
            counts.active += active;
            counts.expired += expired;
            if !since.is_empty() {
                shard.count_since(now, since, &mut counts.since);
            }
        }
        Ok(counts)
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Claimed> {
        Ok(self.with_claims(|claims| claims.claim(claim)))
    }

    async fn release(&self, user_id: &str, handles: &[Handle]) -> Result<()> {
        self.with_claims(|claims| claims.release(user_id, handles));
        Ok(())
    }

    async fn places(&self, user_id: &str) -> Result<Vec<Handle>> {
        Ok(self.with_claims(|claims| claims.of(user_id)))
    }

    async fn all_places(&self, after: Option<&str>, limit: usize) -> Result<PlacesPage> {
        Ok(self.with_claims(|claims| claims.page(after, limit)))
    }

    async fn forget_places(&self) -> Result<()> {
        self.with_claims(|claims| *claims = Claims::default());
        Ok(())
    }

    async fn purge_expired(&self, now: Timestamp, limit: usize) -> Result<Vec<Purged>> {
        let mut purged = Vec::new();
        for index in 0..SHARDS {
            purged.extend(self.take_expired(index, now, limit - purged.len()).0);
            self.write(index).shrink();
        }
        Ok(purged)
    }

    async fn clear(&self) -> Result<u64> {
        self.forget_places().await?;
        let mut cleared = 0;
        for index in 0..SHARDS {
            let mut shard = self.write(index);
            let (count, bytes) = shard.clear();
            self.room.free(bytes);
            cleared += count;
        }
        Ok(cleared)
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }

    /// Nothing to close: the records are freed with the store.
    async fn close(&self) {}
}
