//! A cache of records in front of the file: a session in use is read without a thread or SQLite.
//!
//! It is always consistent with the file. The records that a transaction changes are removed from the cache before its
//! commit and put back after it. Meanwhile readers go to the file: once anyone has seen the new record, nobody sees the old
//! one. A record that a reader loaded from the file is cached only if its session was not written to since the load began.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use foldhash::fast::RandomState;

use super::reader::Row;
use crate::budget::{Budget, Drawn, Kind};
use crate::id::Handle;
use crate::record::Record;

/// By handles, which are random or hashes, so a fast hash with a seed for each map is enough.
type ByHandle<T> = HashMap<Handle, T, RandomState>;

/// Handles are random or hashes: their first byte spreads them evenly, and requests rarely contend for a shard.
const SHARDS: usize = 64;

/// Write counters of a shard. Sessions that share a counter only lose a chance to be cached now and then.
const STAMPS: usize = 64;

/// Memory of an entry in bytes without its record: the slot, its index entry, the allocator's overhead.
const OVERHEAD: usize = 128;

/// Memory is taken from the budget in steps of this many bytes.
const STEP: usize = 16 * 1024;

/// What a transaction did to a record.
#[derive(Debug)]
pub(super) enum Written {
    /// The new record.
    Put(Row),
    /// The record with this handle was deleted.
    Gone(Handle),
    /// All records were deleted.
    AllGone,
}

/// The state of the write counter when a reader began to load a record that is not cached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket(u64);

/// The content of a closed cache, to be dropped elsewhere: freeing a million records takes time.
pub(super) struct Forgotten {
    _shards: Vec<Shard>,
}

/// Committed records, bounded by bytes.
pub(super) struct Cache {
    shards: [RwLock<Shard>; SHARDS],
}

impl Cache {
    /// An empty cache for this many bytes, as far as the budget has them.
    pub(super) fn new(bytes: usize, budget: &Arc<dyn Budget>) -> Self {
        let shard = |_| RwLock::new(Shard::new(bytes / SHARDS, Drawn::new(budget, Kind::Kept)));
        Self { shards: std::array::from_fn(shard) }
    }

    /// The cached record, live or not; else a ticket for [`fill`](Self::fill).
    pub(super) fn get(&self, handle: Handle) -> Result<Arc<Record>, Ticket> {
        let shard = self.read(handle);
        match shard.get(handle) {
            Some(slot) => {
                // Usually already set; not writing again leaves the cache line shared between cores.
                if !slot.used.load(Ordering::Relaxed) {
                    slot.used.store(true, Ordering::Relaxed);
                }
                Ok(slot.row.record.clone())
            }
            None => Err(Ticket(shard.stamps[stamp_of(handle)])),
        }
    }

    /// Caches a record loaded from the file, unless it is stale or may soon be. Returns whether it is current, even if there
    /// was no memory to cache it.
    pub(super) fn fill(&self, ticket: Ticket, row: &Row) -> bool {
        let handle = row.record.handle;
        let mut shard = self.write(handle);
        let unchanged = shard.stamps[stamp_of(handle)] == ticket.0;
        let is_current = unchanged && !shard.is_withheld(handle);
        if is_current {
            shard.put(row.clone());
        }
        is_current
    }

    /// For one transaction: its changes are withheld from readers until the commit. Must be called by one thread.
    pub(super) fn withhold(&self) -> Withheld<'_> {
        Withheld { cache: self, rows: ByHandle::default(), step: Vec::new(), all: false }
    }

    /// Drops everything, and caches nothing from now on.
    pub(super) fn close(&self) -> Forgotten {
        let empty = |shard| {
            let mut shard = lock(shard);
            shard.room = 0;
            shard.clear()
        };
        Forgotten { _shards: self.shards.iter().map(empty).collect() }
    }

    fn shard(&self, handle: Handle) -> &RwLock<Shard> {
        &self.shards[usize::from(handle.as_bytes()[0]) % SHARDS]
    }

    fn read(&self, handle: Handle) -> RwLockReadGuard<'_, Shard> {
        // No operation on a shard can panic half way, so the data behind a poisoned lock is consistent.
        self.shard(handle).read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, handle: Handle) -> RwLockWriteGuard<'_, Shard> {
        lock(self.shard(handle))
    }
}

fn lock(shard: &RwLock<Shard>) -> RwLockWriteGuard<'_, Shard> {
    shard.write().unwrap_or_else(PoisonError::into_inner)
}

fn stamp_of(handle: Handle) -> usize {
    usize::from(handle.as_bytes()[1]) % STAMPS
}

/// The changes of a transaction until it is committed and they are [published](Withheld::publish). Dropped without that,
/// they stay uncached, and readers go to the file.
#[must_use]
pub(super) struct Withheld<'a> {
    cache: &'a Cache,
    /// If a transaction changes a record several times, only the last change becomes visible.
    rows: ByHandle<Option<Row>>,
    /// Changed since the last [`begin_step`](Self::begin_step).
    step: Vec<Handle>,
    all: bool,
}

impl Withheld<'_> {
    /// Removes the changed record from the cache. Must be called before the commit.
    pub(super) fn add(&mut self, written: Written) {
        match written {
            Written::Put(row) => self.replace(row.record.handle, Some(row)),
            Written::Gone(handle) => self.replace(handle, None),
            Written::AllGone => self.clear(),
        }
    }

    fn replace(&mut self, handle: Handle, row: Option<Row>) {
        let mut shard = self.cache.write(handle);
        shard.take(handle);
        shard.stamps[stamp_of(handle)] += 1;
        shard.withheld.insert(handle);
        self.rows.insert(handle, row);
        self.step.push(handle);
    }

    /// Savepoint: the changes after it can be [undone](Self::undo_step) without the rest of the transaction.
    pub(super) fn begin_step(&mut self) {
        self.step.clear();
    }

    /// Rolls back to the savepoint; readers go to the file for these records.
    pub(super) fn undo_step(&mut self) {
        for handle in std::mem::take(&mut self.step) {
            self.replace(handle, None);
        }
    }

    fn clear(&mut self) {
        for shard in &self.cache.shards {
            let mut shard = lock(shard);
            drop(shard.clear());
            shard.all_withheld = true;
        }
        self.rows.values_mut().for_each(|row| *row = None);
        self.all = true;
    }

    /// The row as the transaction sees it, if known without a query: there is one writer, and what the transaction changed is
    /// not in the cache.
    pub(super) fn row(&self, handle: Handle) -> Option<Row> {
        self.cache.read(handle).get(handle).map(|slot| slot.row.clone())
    }

    /// Makes the changes visible to readers.
    pub(super) fn publish(mut self) {
        self.release(true);
    }

    fn release(&mut self, is_committed: bool) {
        for (handle, row) in self.rows.drain() {
            let mut shard = self.cache.write(handle);
            shard.stamps[stamp_of(handle)] += 1;
            shard.withheld.remove(&handle);
            if let Some(row) = row.filter(|_| is_committed) {
                shard.put(row);
            }
        }
        if self.all {
            for shard in &self.cache.shards {
                let mut shard = lock(shard);
                shard.stamps.iter_mut().for_each(|stamp| *stamp += 1);
                shard.all_withheld = false;
            }
        }
    }
}

impl Drop for Withheld<'_> {
    fn drop(&mut self) {
        self.release(false);
    }
}

/// A shard of the cache. Eviction uses the clock algorithm: an entry that was read since the hand last passed it stays for
/// another round.
struct Shard {
    index: ByHandle<usize>,
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    hand: usize,
    bytes: usize,
    room: usize,
    /// Memory taken from the budget: as many bytes as in use, or a few more.
    drawn: Drawn,
    withheld: HashSet<Handle, RandomState>,
    all_withheld: bool,
    /// Incremented when a session is withheld, and again when it is published.
    stamps: [u64; STAMPS],
}

struct Slot {
    row: Row,
    used: AtomicBool,
}

impl Shard {
    fn new(room: usize, drawn: Drawn) -> Self {
        Self {
            index: ByHandle::default(),
            slots: Vec::new(),
            free: Vec::new(),
            hand: 0,
            bytes: 0,
            room,
            drawn,
            withheld: HashSet::default(),
            all_withheld: false,
            stamps: [0; STAMPS],
        }
    }

    fn is_withheld(&self, handle: Handle) -> bool {
        self.all_withheld || self.withheld.contains(&handle)
    }

    fn get(&self, handle: Handle) -> Option<&Slot> {
        self.index.get(&handle).and_then(|place| self.slots[*place].as_ref())
    }

    fn put(&mut self, row: Row) {
        let handle = row.record.handle;
        self.take(handle);
        let size = size_of_entry(&row.record);
        if size > self.room {
            return;
        }
        while self.bytes + size > self.room {
            self.evict();
        }
        if !self.draw(size) {
            return;
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.bytes += size;
        self.index.insert(handle, place);
        self.slots[place] = Some(Slot { row, used: AtomicBool::new(false) });
    }

    /// Takes memory for this many more bytes. If the budget is exhausted, other entries are evicted: the latest read counts most.
    fn draw(&mut self, size: usize) -> bool {
        loop {
            let missing = (self.bytes + size).saturating_sub(self.drawn.bytes());
            if missing == 0 || self.drawn.grow(missing.max(STEP)) || self.drawn.grow(missing) {
                return true;
            }
            if self.bytes == 0 {
                return false;
            }
            self.evict();
        }
    }

    fn take(&mut self, handle: Handle) {
        if let Some(place) = self.index.remove(&handle) {
            self.empty(place);
        }
    }

    fn empty(&mut self, place: usize) {
        if let Some(slot) = self.slots[place].take() {
            self.bytes -= size_of_entry(&slot.row.record);
            self.free.push(place);
            let unused = self.drawn.bytes() - self.bytes;
            if unused > 4 * STEP {
                self.drawn.shrink(unused - STEP);
            }
        }
    }

    /// Evicts one record; there is one, as bytes are in use.
    fn evict(&mut self) {
        loop {
            self.hand = (self.hand + 1) % self.slots.len();
            let Some(slot) = &mut self.slots[self.hand] else { continue };
            if !std::mem::take(slot.used.get_mut()) {
                let handle = slot.row.record.handle;
                self.take(handle);
                return;
            }
        }
    }

    /// Empties the shard and returns its content.
    fn clear(&mut self) -> Self {
        let stamps = self.stamps.map(|stamp| stamp + 1);
        let withheld = std::mem::take(&mut self.withheld);
        // Its memory is returned to the budget when the content is dropped.
        let drawn = self.drawn.another();
        let empty = Self { withheld, all_withheld: self.all_withheld, stamps, ..Self::new(self.room, drawn) };
        std::mem::replace(self, empty)
    }
}

fn size_of_entry(record: &Record) -> usize {
    record.bytes() + OVERHEAD
}

#[cfg(test)]
mod tests;
