//! Records in memory, in front of the file: a session in use is read without asking a thread or SQLite.
//!
//! It never answers with anything but what the file says at that moment. What a transaction changes is withheld from
//! before its commit until after it: meanwhile readers ask the file, so nobody sees the old record once somebody has
//! seen the new one, by whatever way. And what a reader brings from the file is kept only if nothing was written to
//! that session since it set out.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use foldhash::fast::RandomState;

use super::reader::Row;
use crate::budget::{Budget, Drawn, Kind};
use crate::id::Handle;
use crate::record::Record;

/// By handles, which are random or hashes: a hash that is seeded for each map, and no stronger, will do.
type ByHandle<T> = HashMap<Handle, T, RandomState>;

/// Handles are random or hashes, so their first byte spreads them evenly and two requests seldom meet in a shard.
const SHARDS: usize = 64;

/// Counters of writes in a shard. Sessions that share one cost each other a fill now and then, nothing else.
const STAMPS: usize = 64;

/// Memory of an entry beside its record: the slot, its place in the index, the allocator's share.
const OVERHEAD: usize = 128;

/// Memory is drawn in steps of so many bytes.
const STEP: usize = 16 * 1024;

/// What a transaction did to the records.
#[derive(Debug)]
pub(super) enum Written {
    /// The record is this now.
    Put(Row),
    /// There is none with that handle any more.
    Gone(Handle),
    /// There is none at all any more.
    AllGone,
}

/// The moment at which a reader set out for a record that the cache does not have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket(u64);

/// What a closed cache held: to drop a million records takes its time.
pub(super) struct Forgotten {
    _shards: Vec<Shard>,
}

/// Records that were committed, bounded by their bytes.
pub(super) struct Cache {
    shards: [RwLock<Shard>; SHARDS],
}

impl Cache {
    /// An empty cache for so many bytes of records, if there is as much memory.
    pub(super) fn new(bytes: usize, budget: &Arc<dyn Budget>) -> Self {
        let shard = |_| RwLock::new(Shard::new(bytes / SHARDS, Drawn::new(budget, Kind::Kept)));
        Self { shards: std::array::from_fn(shard) }
    }

    /// The record as it is in the file, live or not; or what to bring along when it is [filled in](Self::fill).
    pub(super) fn get(&self, handle: Handle) -> Result<Arc<Record>, Ticket> {
        let shard = self.read(handle);
        match shard.get(handle) {
            Some(slot) => {
                // Most often it is set already, and then other cores keep their copy of the line.
                if !slot.used.load(Ordering::Relaxed) {
                    slot.used.store(true, Ordering::Relaxed);
                }
                Ok(slot.row.record.clone())
            }
            None => Err(Ticket(shard.stamps[stamp_of(handle)])),
        }
    }

    /// Keeps what a reader found in the file, unless it may be old by now, or soon: whether it is kept, if there is room.
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

    /// For one transaction: what it changes is withheld until its commit. To be called by one thread.
    pub(super) fn withhold(&self) -> Withheld<'_> {
        Withheld { cache: self, rows: ByHandle::default(), step: Vec::new(), all: false }
    }

    /// Forgets everything and keeps nothing from now on.
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
        // No step of a shard can panic half way, so a poisoned one is whole all the same.
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

/// What a transaction changed so far, until it is committed and [published](Withheld::publish). Dropped without that,
/// it leaves readers to find out in the file.
#[must_use]
pub(super) struct Withheld<'a> {
    cache: &'a Cache,
    /// Of several changes of one record in a transaction, only the last is ever there to see.
    rows: ByHandle<Option<Row>>,
    /// Changed since the last [`begin_step`](Self::begin_step).
    step: Vec<Handle>,
    all: bool,
}

impl Withheld<'_> {
    /// Takes out what was changed. To be called before the commit.
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

    /// From here on changes may be [undone](Self::undo_step), without the rest of the transaction.
    pub(super) fn begin_step(&mut self) {
        self.step.clear();
    }

    /// What was changed in this step is as it was before: readers find out in the file.
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

    /// The row as it is within the transaction, where that is known without asking the file: nobody else writes, and
    /// what the transaction itself changed is not in the cache.
    pub(super) fn row(&self, handle: Handle) -> Option<Row> {
        self.cache.read(handle).get(handle).map(|slot| slot.row.clone())
    }

    /// Lets everybody see it.
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

/// A part of the records. The one that makes room is found by a hand that goes round: whoever was read since it came by
/// last stays for another round.
struct Shard {
    index: ByHandle<usize>,
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    hand: usize,
    bytes: usize,
    room: usize,
    /// Memory for the bytes: as many, or a few more.
    drawn: Drawn,
    withheld: HashSet<Handle, RandomState>,
    all_withheld: bool,
    /// Grows when what is withheld of its sessions is, and again when it is no longer.
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

    /// Draws memory for so many bytes more. Where there is none, others make room: what was read last is worth more.
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

    /// Drops one record; there is one, because bytes are used.
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

    /// Holds nothing afterwards; what it held is the result.
    fn clear(&mut self) -> Self {
        let stamps = self.stamps.map(|stamp| stamp + 1);
        let withheld = std::mem::take(&mut self.withheld);
        // What it held is given back when it is dropped.
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
