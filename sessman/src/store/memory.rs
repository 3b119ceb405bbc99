//! The store in this process's memory: nothing to install, nothing kept over a restart.
//!
//! It is bounded by bytes. When it is full, expired records go first; live ones are never dropped, the caller is told
//! that it is full instead.

mod claims;
mod shard;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;

use self::claims::Claims;
use self::shard::{Shard, size_of_record};
use super::{
    Claim, Claimed, Counts, Created, Listing, Loaded, Outlined, PAGE_BYTES, Page, PlacesPage, Purged, Result,
    Store, StoreError, Target, Unless, Updated,
};
use crate::budget::{Budget, Drawn, Kind, Pool, Unlimited};
use crate::id::Handle;
use crate::record::{Change, Record, Summary};
use crate::time::{Clock, Timestamp};

/// A shard holds the handles that begin with the same six bits, so that the shards one after the other are in the
/// order of handles. Handles are random: the shards fill evenly, and two requests seldom meet in one.
const SHARDS: usize = 64;

/// Memory is drawn in steps of so many bytes.
const STEP: usize = 256 * 1024;

/// Records that clean-up looks at while a shard is locked.
const SLICE: usize = 256;

/// How to keep sessions in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryConfig {
    /// Memory for records and their indexes, in bytes: about 1 KB for a session with 200 bytes of data.
    pub max_bytes: usize,
}

impl Default for MemoryConfig {
    /// 256 MiB.
    fn default() -> Self {
        Self { max_bytes: 256 << 20 }
    }
}

/// Sessions in this process's memory.
pub struct MemoryStore {
    shards: [RwLock<Shard>; SHARDS],
    /// Taken before a shard's lock, never while holding one.
    claims: Mutex<Claims>,
    room: Pool,
    clock: Arc<dyn Clock>,
}

/// The limit does not allow so many more bytes.
struct NoRoom(usize);

impl MemoryStore {
    /// An empty store. By `clock`, which is that of the engine, a session lives or not when it is written to.
    pub fn new(config: MemoryConfig, clock: Arc<dyn Clock>) -> Self {
        Self::drawing(config, clock, &Unlimited::shared())
    }

    /// The same, and its records draw on `budget`.
    pub fn drawing(config: MemoryConfig, clock: Arc<dyn Clock>, budget: &Arc<dyn Budget>) -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::default()),
            claims: Mutex::default(),
            room: Pool::new(config.max_bytes, STEP, Drawn::new(budget, Kind::Kept)),
            clock,
        }
    }

    /// Bytes that records and their indexes take, by estimate.
    pub fn used_bytes(&self) -> usize {
        self.room.used()
    }

    fn index(handle: Handle) -> usize {
        usize::from(handle.as_bytes()[0]) * SHARDS / 256
    }

    fn read(&self, index: usize) -> RwLockReadGuard<'_, Shard> {
        // No step of a shard can panic half way, so a poisoned one is whole all the same.
        self.shards[index].read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, index: usize) -> RwLockWriteGuard<'_, Shard> {
        self.shards[index].write().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self, handle: Handle, now: Timestamp) -> Loaded {
        Loaded::of(self.read(Self::index(handle)).get(handle).cloned(), now)
    }

    /// The users' claims; what they take counts as used afterwards.
    fn with_claims<T>(&self, change: impl FnOnce(&mut Claims) -> T) -> T {
        // No step of them can panic half way, either.
        let mut claims: MutexGuard<'_, Claims> = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        let before = claims.bytes();
        let result = change(&mut claims);
        self.room.note(before, claims.bytes());
        result
    }

    /// Puts `record` in place of `old_size` bytes. A record that does not grow always fits.
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

    /// Does `step` until it has room, dropping expired records as long as that helps. The step takes its shard's
    /// lock itself and starts anew each time: making room needs the other shards, and one lock at a time.
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

    /// Drops expired records until `needed` bytes are free; whether it found any.
    fn drop_expired(&self, now: Timestamp, needed: usize) -> bool {
        let mut freed = 0;
        for index in 0..SHARDS {
            while freed < needed {
                // A full store is asked for room by every new session: most shards have nothing to give, and
                // finding that out must not lock readers out.
                if !self.read(index).has_due(now) {
                    break;
                }
                freed += self.take_expired(index, now, 64).1;
            }
        }
        freed > 0
    }

    /// A page of what `collect` takes from each shard, as `item` makes it, which has so many `bytes`.
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
            // One more than asked for tells whether there is a next page.
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

    /// Deletes at most `limit` expired records of a shard: how many, and their bytes.
    fn take_expired(&self, index: usize, now: Timestamp, limit: usize) -> (Vec<Purged>, usize) {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        let mut more = true;
        while more {
            // Locked anew after each slice: readers wait meanwhile.
            let mut shard = self.write(index);
            for _ in 0..SLICE {
                more = taken.len() < limit && shard.has_due(now);
                if !more {
                    break;
                }
                if let Some(record) = shard.take_due(now) {
                    taken.push(Purged::of(&record));
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
        self.with_room(change.now, || {
            let mut shard = self.write(Self::index(read.handle));
            // Nobody looks while it is locked: whoever was told that it has ended looked before.
            let now = self.clock.now().max(change.now);
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
        let Listing { user_id, after, limit } = listing;
        let collect = |shard: &Shard, missing, into: &mut Vec<Arc<Record>>| match user_id {
            Some(user_id) => shard.collect_of_user(user_id, after, now, missing, into),
            None => shard.collect(after, now, missing, into),
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

    /// There is nothing to let go of: the records go with the store.
    async fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::budget::Purse;
    use crate::data::Data;
    use crate::id::SecretHash;
    use crate::mark::Mark;
    use crate::record::{Times, TtlSource};
    use crate::store::conformance::{Fixture, conformance_tests};
    use crate::time::ManualClock;

    fn memory(config: MemoryConfig, now: i64) -> MemoryStore {
        MemoryStore::new(config, Arc::new(ManualClock::new(at(now))))
    }

    async fn open() -> Option<Fixture> {
        Some(Fixture::new(memory(MemoryConfig::default(), 0)))
    }

    conformance_tests!(open);

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn record(n: u8, data_bytes: usize, expires_at: i64) -> Arc<Record> {
        Arc::new(Record {
            handle: Handle::from([n; 12]),
            mark: Mark::from([n; 8]),
            secret_hash: SecretHash::from([n; 32]),
            user_id: Some("ada".into()),
            auth_time: None,
            data: text(data_bytes),
            metadata: Data::empty(),
            created_at: at(0),
            updated_at: at(0),
            reset_at: at(0),
            last_activity: at(0),
            ttl: Duration::from_secs(1),
            ttl_source: TtlSource::Configured,
            expires_at: at(expires_at),
            version: 1,
            mac: None,
        })
    }

    fn text(bytes: usize) -> Data {
        Data::parse(&format!("\"{}\"", "x".repeat(bytes))).unwrap()
    }

    fn write(millis: i64, data: Option<Data>) -> Change {
        let times = Times { reset_at: at(millis), last_activity: at(millis), expires_at: at(2_000) };
        Change { data, ..Change::touch(at(millis), times) }
    }

    async fn update(store: &MemoryStore, n: u8, change: Change) -> Result<Updated> {
        store.update(&record(n, 2, 1_000), Unless::Gone, &change).await
    }

    /// A store with room for four records of 10,000 bytes and not for five.
    async fn full() -> MemoryStore {
        let store = memory(MemoryConfig { max_bytes: 48_000 }, 0);
        for n in 0..4 {
            assert_eq!(store.create(record(n * 60, 10_000, 1_000), at(0)).await.unwrap(), Created::Yes);
        }
        store
    }

    #[tokio::test]
    async fn a_full_store_takes_no_new_session_and_drops_no_live_one() {
        let store = full().await;
        let refused = store.create(record(250, 10_000, 1_000), at(999)).await;
        assert!(matches!(refused, Err(StoreError::Full)));
        assert_eq!(
            store.counts(at(999), &[]).await.unwrap(),
            Counts { active: 4, expired: 0, since: Vec::new() }
        );
        assert_eq!(store.create(record(0, 10_000, 1_000), at(999)).await.unwrap(), Created::Exists);
    }

    #[tokio::test]
    async fn expired_records_make_room() {
        let store = full().await;
        assert_eq!(store.create(record(250, 10_000, 2_000), at(1_000)).await.unwrap(), Created::Yes);
        assert_eq!(
            store.counts(at(1_000), &[]).await.unwrap(),
            Counts { active: 1, expired: 3, since: Vec::new() }
        );
    }

    #[tokio::test]
    async fn a_full_store_refuses_only_updates_that_grow() {
        let store = full().await;
        let grown = update(&store, 60, write(10, Some(text(20_000)))).await;
        assert!(matches!(grown, Err(StoreError::Full)));
        assert_eq!(
            store.load(Handle::from([60; 12]), at(10)).await.unwrap().live(),
            Some(record(60, 10_000, 1_000))
        );
        for change in [write(20, None), write(20, Some(text(10_000))), write(20, Some(text(10)))] {
            assert!(matches!(update(&store, 60, change).await.unwrap(), Updated::Done { .. }));
        }
        // What that one gave back is free for another.
        assert!(matches!(
            update(&store, 0, write(30, Some(text(15_000)))).await.unwrap(),
            Updated::Done { .. }
        ));
    }

    #[tokio::test]
    async fn there_are_no_more_records_than_there_is_memory_for() {
        let purse = Purse::of(2_000_000);
        let budget: Arc<dyn Budget> = purse.clone();
        let clock = Arc::new(ManualClock::new(at(0)));
        let store = MemoryStore::drawing(MemoryConfig::default(), clock, &budget);
        let mut count = 0;
        while store.create(record(count, 100_000, 1_000), at(0)).await.is_ok() {
            count += 1;
        }
        assert_eq!(count, 19);
        assert!(purse.left() < 100_000);
        // Those that expired make room here, too.
        store.create(record(200, 100_000, 2_000), at(1_000)).await.unwrap();
        store.clear().await.unwrap();
        assert!(purse.left() > 2_000_000 - 5 * STEP);
        drop(store);
        assert_eq!(purse.left(), 2_000_000);
    }

    #[tokio::test]
    async fn an_update_that_came_past_the_end_revives_nothing() {
        for (now, lives) in [(999, true), (1_000, false)] {
            let store = memory(MemoryConfig::default(), now);
            store.create(record(1, 2, 1_000), at(0)).await.unwrap();
            // Asked for in time; the thread stood still meanwhile.
            let updated = update(&store, 1, write(990, None)).await.unwrap();
            assert_eq!(matches!(updated, Updated::Done { .. }), lives);
            assert_eq!(updated == Updated::Missing, !lives);
        }
    }

    #[tokio::test]
    async fn what_leaves_the_store_gives_its_bytes_back() {
        let store = full().await;
        store.create(record(0, 50, 3_000), at(1_000)).await.unwrap();
        assert_eq!(store.delete(&[Target::whatever(Handle::from([60; 12]))]).await.unwrap().len(), 1);
        assert_eq!(store.purge_expired(at(1_000), 1).await.unwrap().len(), 1);
        assert!(store.used_bytes() > 10_000);
        assert_eq!(store.clear().await.unwrap(), 2);
        assert_eq!(store.used_bytes(), 0);
    }
}
