//! A shard of the memory store's records, with the indexes over them.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::id::Handle;
use crate::labels::Label;
use crate::record::Record;
use crate::time::Timestamp;

/// Memory of a record in bytes without its texts: its entries in three indexes, its allocations, the allocator's overhead.
const OVERHEAD: usize = 192;

/// The same of a label without its text: where no other session has it, it has an entry of the index and a set of its own.
const LABEL_OVERHEAD: usize = 350;

/// Approximate memory of a record in bytes.
pub(super) fn size_of_record(record: &Record) -> usize {
    // The user's name and the labels are in the record and again in the indexes.
    let labels = record.labels.bytes() + record.labels.iter().count() * LABEL_OVERHEAD;
    record.bytes() + record.user_id.as_ref().map_or(0, String::len) + labels + OVERHEAD
}

/// Records with indexes by handle, by user and by label, which are exact, and by expiry, which may be too early.
#[derive(Default)]
pub(super) struct Shard {
    /// Handles are random or hashes, so a fast hash with a seed for each map is enough.
    records: HashMap<Handle, Kept, RandomState>,
    by_expiry: BTreeSet<(Timestamp, Handle)>,
    by_user: BTreeMap<String, BTreeSet<Handle>>,
    by_label: BTreeMap<Label, BTreeSet<Handle>>,
}

/// A record, and its place in the index by expiry.
struct Kept {
    record: Arc<Record>,
    /// The record's key in the expiry index: it does not expire before this. Extending a session leaves the key as it is; the
    /// key is corrected when it comes due.
    due: Timestamp,
}

impl Kept {
    fn is_live(&self, now: Timestamp) -> bool {
        self.due > now || self.record.is_live(now)
    }
}

impl Shard {
    pub(super) fn get(&self, handle: Handle) -> Option<&Arc<Record>> {
        self.records.get(&handle).map(|kept| &kept.record)
    }

    /// Stores the record; replaces one with the same handle.
    pub(super) fn put(&mut self, record: Arc<Record>) {
        let (handle, due) = (record.handle, record.expires_at);
        let old = match self.records.entry(handle) {
            Entry::Vacant(place) => {
                self.by_expiry.insert((due, handle));
                place.insert(Kept { record: Arc::clone(&record), due });
                None
            }
            Entry::Occupied(mut place) => {
                let kept = place.get_mut();
                if due < kept.due {
                    self.by_expiry.remove(&(kept.due, handle));
                    self.by_expiry.insert((due, handle));
                    kept.due = due;
                }
                Some(std::mem::replace(&mut kept.record, Arc::clone(&record)))
            }
        };
        if let Some(old) = old {
            if old.user_id == record.user_id && old.labels == record.labels {
                return;
            }
            self.forget_user(&old);
            self.forget_labels(&old);
        }
        if let Some(user_id) = &record.user_id {
            self.by_user.entry(user_id.clone()).or_default().insert(handle);
        }
        for label in record.labels.iter() {
            self.by_label.entry(label.clone()).or_default().insert(handle);
        }
    }

    /// Removes the record.
    pub(super) fn take(&mut self, handle: Handle) -> Option<Arc<Record>> {
        let Kept { record, due } = self.records.remove(&handle)?;
        self.by_expiry.remove(&(due, handle));
        self.forget_user(&record);
        self.forget_labels(&record);
        Some(record)
    }

    fn forget_user(&mut self, record: &Record) {
        let Some(user_id) = record.user_id.as_deref() else { return };
        if let Some(handles) = self.by_user.get_mut(user_id) {
            handles.remove(&record.handle);
            if handles.is_empty() {
                self.by_user.remove(user_id);
            }
        }
    }

    fn forget_labels(&mut self, record: &Record) {
        for label in record.labels.iter() {
            if let Some(handles) = self.by_label.get_mut(label) {
                handles.remove(&record.handle);
                if handles.is_empty() {
                    self.by_label.remove(label);
                }
            }
        }
    }

    /// Whether there may be an expired record.
    pub(super) fn has_due(&self, now: Timestamp) -> bool {
        self.by_expiry.first().is_some_and(|(due, _)| *due <= now)
    }

    /// Takes the first record in the expiry index: removes it if it has expired, else corrects its key.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<Arc<Record>> {
        let (_, handle) = self.by_expiry.first().copied().filter(|(due, _)| *due <= now)?;
        let kept = self.records.get_mut(&handle)?;
        if !kept.record.is_live(now) {
            return self.take(handle);
        }
        self.by_expiry.pop_first();
        kept.due = kept.record.expires_at;
        self.by_expiry.insert((kept.due, handle));
        None
    }

    /// Frees spare capacity after many records were removed.
    pub(super) fn shrink(&mut self) {
        if self.records.capacity() / 4 > self.records.len() {
            self.records.shrink_to(2 * self.records.len());
        }
    }

    /// The numbers of live and of expired records.
    pub(super) fn counts(&self, now: Timestamp) -> (u64, u64) {
        let due = self.by_expiry.iter().take_while(|(due, _)| *due <= now);
        let expired = due.filter(|(_, handle)| self.get(*handle).is_some_and(|record| !record.is_live(now)));
        let expired = expired.count() as u64;
        (self.records.len() as u64 - expired, expired)
    }

    /// For each of the moments, adds the live records created then or later to its count.
    pub(super) fn count_since(&self, now: Timestamp, moments: &[Timestamp], counts: &mut [u64]) {
        for kept in self.records.values().filter(|kept| kept.is_live(now)) {
            for (moment, count) in moments.iter().zip(&mut *counts) {
                *count += u64::from(kept.record.created_at >= *moment);
            }
        }
    }

    /// Appends at most `limit` live records with handles greater than `after`, in order. Scans the whole shard: pages are for
    /// administrators, and an ordered map would slow down every session.
    pub(super) fn collect(
        &self,
        after: Option<Handle>,
        now: Timestamp,
        limit: usize,
        into: &mut Vec<Arc<Record>>,
    ) {
        let rest = self
            .records
            .iter()
            .filter(|(handle, kept)| after.is_none_or(|after| **handle > after) && kept.is_live(now));
        let mut rest: Vec<(&Handle, &Kept)> = rest.collect();
        if limit < rest.len() {
            rest.select_nth_unstable_by_key(limit, |(handle, _)| **handle);
            rest.truncate(limit);
        }
        rest.sort_unstable_by_key(|(handle, _)| **handle);
        into.extend(rest.into_iter().map(|(_, kept)| Arc::clone(&kept.record)));
    }

    /// The handles of a user's records.
    pub(super) fn of_user(&self, user_id: &str) -> Option<&BTreeSet<Handle>> {
        self.by_user.get(user_id)
    }

    /// The handles of the records with this label.
    pub(super) fn of_label(&self, label: &Label) -> Option<&BTreeSet<Handle>> {
        self.by_label.get(label)
    }

    /// Like [`collect`](Self::collect), for the records under these handles that match.
    pub(super) fn collect_some(
        &self,
        handles: Option<&BTreeSet<Handle>>,
        matches: impl Fn(&Record) -> bool,
        after: Option<Handle>,
        now: Timestamp,
        limit: usize,
        into: &mut Vec<Arc<Record>>,
    ) {
        let Some(handles) = handles else { return };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = handles.range((from, Bound::Unbounded)).filter_map(|handle| self.get(*handle));
        into.extend(rest.filter(|record| record.is_live(now) && matches(record)).take(limit).cloned());
    }

    /// Removes everything; returns the number of records and their bytes.
    pub(super) fn clear(&mut self) -> (u64, usize) {
        let count = self.records.len() as u64;
        let bytes = self.records.values().map(|kept| size_of_record(&kept.record)).sum();
        *self = Self::default();
        (count, bytes)
    }
}
