//! A part of the memory store's records, with the indexes over them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use crate::id::Handle;
use crate::record::Record;
use crate::time::Timestamp;

/// What a record costs beside its texts: its entries in three trees, the blocks it is in, and the allocator's share.
const OVERHEAD: usize = 192;

/// How many bytes of memory a record takes, about.
pub(super) fn size_of_record(record: &Record) -> usize {
    // A user's name is in the record and once more in the index.
    record.bytes() + record.user_id.as_ref().map_or(0, String::len) + OVERHEAD
}

/// Records, findable by handle, by expiry and by user; the three always say the same.
#[derive(Default)]
pub(super) struct Shard {
    records: BTreeMap<Handle, Arc<Record>>,
    by_expiry: BTreeSet<(Timestamp, Handle)>,
    by_user: BTreeMap<String, BTreeSet<Handle>>,
}

impl Shard {
    pub(super) fn get(&self, handle: Handle) -> Option<&Arc<Record>> {
        self.records.get(&handle)
    }

    /// Stores the record, in place of the one with its handle.
    pub(super) fn put(&mut self, record: Arc<Record>) {
        let (handle, expires_at) = (record.handle, record.expires_at);
        let old = self.records.insert(handle, record.clone());
        let same_user = old.as_ref().is_some_and(|old| old.user_id == record.user_id);
        if let Some(old) = &old {
            if old.expires_at != expires_at {
                self.by_expiry.remove(&(old.expires_at, handle));
            }
            if !same_user {
                self.forget_user(old);
            }
        }
        self.by_expiry.insert((expires_at, handle));
        if let Some(user_id) = record.user_id.as_ref().filter(|_| !same_user) {
            self.by_user.entry(user_id.clone()).or_default().insert(handle);
        }
    }

    /// Removes the record.
    pub(super) fn take(&mut self, handle: Handle) -> Option<Arc<Record>> {
        let record = self.records.remove(&handle)?;
        self.by_expiry.remove(&(record.expires_at, handle));
        self.forget_user(&record);
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

    /// The handle that expired first, if one has.
    fn first_expired(&self, now: Timestamp) -> Option<Handle> {
        self.by_expiry.first().filter(|(expires_at, _)| *expires_at <= now).map(|(_, handle)| *handle)
    }

    pub(super) fn has_expired(&self, now: Timestamp) -> bool {
        self.first_expired(now).is_some()
    }

    /// Removes the record that expired first.
    pub(super) fn take_expired(&mut self, now: Timestamp) -> Option<Arc<Record>> {
        self.first_expired(now).and_then(|handle| self.take(handle))
    }

    /// How many records are live, and how many expired.
    pub(super) fn counts(&self, now: Timestamp) -> (u64, u64) {
        let expired = self.by_expiry.iter().take_while(|(expires_at, _)| *expires_at <= now).count();
        ((self.records.len() - expired) as u64, expired as u64)
    }

    /// Adds to each count the live records that were created at its moment or later.
    pub(super) fn count_since(&self, now: Timestamp, moments: &[Timestamp], counts: &mut [u64]) {
        for record in self.records.values().filter(|record| record.is_live(now)) {
            for (moment, count) in moments.iter().zip(&mut *counts) {
                *count += u64::from(record.created_at >= *moment);
            }
        }
    }

    /// Appends at most `limit` live records with greater handles than `after`, in their order.
    pub(super) fn collect(
        &self,
        after: Option<Handle>,
        now: Timestamp,
        limit: usize,
        into: &mut Vec<Arc<Record>>,
    ) {
        let rest = self.records.range((from(after), Bound::Unbounded)).map(|(_, record)| record);
        into.extend(rest.filter(|record| record.is_live(now)).take(limit).cloned());
    }

    /// As [`collect`](Self::collect), of one user's records.
    pub(super) fn collect_of_user(
        &self,
        user_id: &str,
        after: Option<Handle>,
        now: Timestamp,
        limit: usize,
        into: &mut Vec<Arc<Record>>,
    ) {
        let Some(handles) = self.by_user.get(user_id) else { return };
        let rest =
            handles.range((from(after), Bound::Unbounded)).filter_map(|handle| self.records.get(handle));
        into.extend(rest.filter(|record| record.is_live(now)).take(limit).cloned());
    }

    /// Removes everything: how many records, and how many bytes they took.
    pub(super) fn clear(&mut self) -> (u64, usize) {
        let count = self.records.len() as u64;
        let bytes = self.records.values().map(|record| size_of_record(record)).sum();
        *self = Self::default();
        (count, bytes)
    }
}

fn from(after: Option<Handle>) -> Bound<Handle> {
    after.map_or(Bound::Unbounded, Bound::Excluded)
}
