use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::*;
use crate::budget::{Purse, Unlimited};
use crate::data::Data;
use crate::id::SecretHash;
use crate::labels::Labels;
use crate::mark::Mark;
use crate::record::TtlSource;
use crate::time::Timestamp;

/// All of them in one shard.
fn record(n: u8, version: u64) -> Arc<Record> {
    let at = Timestamp::from_millis(0);
    let mut handle = [0; 12];
    (handle[1], handle[11]) = (n, n);
    Arc::new(Record {
        handle: Handle::from(handle),
        mark: Mark::from([n; 8]),
        secret_hash: SecretHash::from([0; 32]),
        user_id: None,
        auth_time: None,
        data: Data::empty(),
        metadata: Data::empty(),
        created_at: at,
        updated_at: at,
        reset_at: at,
        last_activity: at,
        ttl: Duration::from_secs(1),
        ttl_source: TtlSource::Configured,
        idle: None,
        persistent: false,
        labels: Labels::none(),
        expires_at: at,
        version,
        mac: None,
    })
}

fn handle(n: u8) -> Handle {
    record(n, 0).handle
}

/// With room for so many records in their shard.
fn cache(records: usize) -> Cache {
    Cache::new(records * size_of_entry(&record(0, 0)) * SHARDS, &Unlimited::shared())
}

fn row(n: u8, version: u64) -> Row {
    Row { id: i64::from(n), has_tail: true, record: record(n, version) }
}

fn put(n: u8, version: u64) -> Vec<Written> {
    vec![Written::Put(row(n, version))]
}

fn withhold(cache: &Cache, written: Vec<Written>) -> Withheld<'_> {
    let mut withheld = cache.withhold();
    written.into_iter().for_each(|written| withheld.add(written));
    withheld
}

fn version(cache: &Cache, n: u8) -> Option<u64> {
    cache.get(handle(n)).ok().map(|record| record.version)
}

fn ticket(cache: &Cache, n: u8) -> Ticket {
    cache.get(handle(n)).expect_err("it is not there")
}

#[test]
fn a_record_is_there_after_its_commit_and_neither_before_nor_during_it() {
    let cache = cache(9);
    withhold(&cache, put(1, 1)).publish();
    assert_eq!(version(&cache, 1), Some(1));
    let withheld = withhold(&cache, put(1, 2));
    assert_eq!(version(&cache, 1), None);
    withheld.publish();
    assert_eq!(version(&cache, 1), Some(2));
    withhold(&cache, vec![Written::Gone(handle(1))]).publish();
    assert_eq!(version(&cache, 1), None);
}

#[test]
fn a_commit_that_failed_leaves_nothing_to_be_seen() {
    let cache = cache(9);
    withhold(&cache, put(1, 1)).publish();
    drop(withhold(&cache, put(1, 2)));
    assert_eq!(version(&cache, 1), None);
    cache.fill(ticket(&cache, 1), &row(1, 1));
    assert_eq!(version(&cache, 1), Some(1));
}

#[test]
fn the_last_change_of_a_transaction_is_what_is_there() {
    let cache = cache(9);
    let several = || [put(1, 1), put(1, 2), put(2, 1), vec![Written::Gone(handle(2))]];
    withhold(&cache, several().into_iter().flatten().collect()).publish();
    assert_eq!((version(&cache, 1), version(&cache, 2)), (Some(2), None));
    let cleared = [put(3, 1), vec![Written::AllGone], put(2, 7)];
    withhold(&cache, cleared.into_iter().flatten().collect()).publish();
    assert_eq!([1, 2, 3].map(|n| version(&cache, n)), [None, Some(7), None]);
}

#[test]
fn a_fill_that_may_be_old_is_dropped() {
    let cache = cache(9);
    let unwritten = ticket(&cache, 1);
    cache.fill(unwritten, &row(1, 1));
    assert_eq!(version(&cache, 1), Some(1), "nobody wrote");

    for change in [vec![Written::Put(row(2, 2))], vec![Written::AllGone]] {
        let before = ticket(&cache, 2);
        let withheld = withhold(&cache, change);
        let during = ticket(&cache, 2);
        for ticket in [before, during] {
            cache.fill(ticket, &row(2, 1));
            assert_eq!(version(&cache, 2), None);
        }
        drop(withheld);
        for ticket in [before, during] {
            cache.fill(ticket, &row(2, 1));
            assert_eq!(version(&cache, 2), None);
        }
    }
}

#[test]
fn room_is_made_by_those_that_nobody_reads() {
    let cache = cache(4);
    for n in 0..4 {
        withhold(&cache, put(n, 1)).publish();
    }
    for n in 4..20 {
        assert_eq!(version(&cache, 0), Some(1));
        withhold(&cache, put(n, 1)).publish();
    }
    assert_eq!(version(&cache, 19), Some(1));
    assert_eq!((0..20).filter(|n| version(&cache, *n).is_some()).count(), 4);
    assert_eq!(lock(&cache.shards[0]).slots.len(), 4);
}

#[test]
fn what_leaves_gives_its_bytes_back() {
    let cache = cache(4);
    for n in 0..4 {
        withhold(&cache, put(n, 1)).publish();
        withhold(&cache, put(n, 2)).publish();
    }
    withhold(&cache, (0..4).map(|n| Written::Gone(handle(n))).collect()).publish();
    assert_eq!(lock(&cache.shards[0]).bytes, 0);
    withhold(&cache, put(1, 1)).publish();
    cache.close();
    withhold(&cache, put(2, 1)).publish();
    assert_eq!((version(&cache, 1), version(&cache, 2)), (None, None));
    assert_eq!(lock(&cache.shards[0]).bytes, 0);
}

#[test]
fn a_cache_without_room_keeps_nothing() {
    let cache = Cache::new(0, &Unlimited::shared());
    withhold(&cache, put(1, 1)).publish();
    cache.fill(ticket(&cache, 1), &row(1, 1));
    assert_eq!(version(&cache, 1), None);
}

/// What a file is to the cache: a version of each record, read and committed at a moment of its own.
#[derive(Default)]
struct File {
    versions: [AtomicU64; 8],
    /// The greatest version of each that somebody was answered with: nobody may see less from then on.
    seen: [AtomicU64; 8],
}

#[test]
fn nobody_sees_an_older_version_than_somebody_saw_before() {
    const COMMITS: u64 = 30_000;
    // Less room than records: they leave and come back all the time.
    let (cache, file, is_done) = (cache(5), File::default(), AtomicBool::new(false));
    let read = |n: u8| {
        let before = file.seen[usize::from(n)].load(Ordering::SeqCst);
        let found = match cache.get(handle(n)) {
            Ok(record) => record.version,
            Err(ticket) => {
                let found = file.versions[usize::from(n)].load(Ordering::SeqCst);
                // Between reading the file and filling in there is time for a commit.
                std::thread::yield_now();
                cache.fill(ticket, &row(n, found));
                found
            }
        };
        assert!(found >= before, "{n}: {found} was read after {before}");
        file.seen[usize::from(n)].fetch_max(found, Ordering::SeqCst);
    };
    std::thread::scope(|scope| {
        for reader in 0..4 {
            let (read, is_done) = (&read, &is_done);
            scope.spawn(move || {
                let mut n: u8 = reader;
                while !is_done.load(Ordering::Relaxed) {
                    n = n.wrapping_mul(5).wrapping_add(3);
                    read(n % 8);
                }
            });
        }
        scope.spawn(|| {
            for number in 1..=COMMITS {
                let n = (number % 8) as u8;
                let other = (n + 3) % 8;
                let withheld =
                    withhold(&cache, [put(n, number), put(other, number)].into_iter().flatten().collect());
                if number % 7 == 0 {
                    drop(withheld);
                    continue;
                }
                for n in [n, other] {
                    file.versions[usize::from(n)].store(number, Ordering::SeqCst);
                }
                std::thread::yield_now();
                withheld.publish();
                file.seen[usize::from(n)].fetch_max(number, Ordering::SeqCst);
            }
            is_done.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn no_more_is_kept_than_there_is_memory_for_and_it_comes_back() {
    let purse = Purse::of(3 * size_of_entry(&record(0, 0)) + 10);
    let budget: Arc<dyn Budget> = purse.clone();
    let cache = Cache::new(1 << 30, &budget);
    for n in 0..50 {
        withhold(&cache, put(n, 1)).publish();
    }
    let kept: Vec<u8> = (0..50).filter(|n| version(&cache, *n).is_some()).collect();
    assert_eq!((kept.len(), kept[2]), (3, 49));
    let before = purse.left();
    let forgotten = cache.close();
    assert_eq!(purse.left(), before);
    drop(forgotten);
    assert_eq!(purse.left(), 3 * size_of_entry(&record(0, 0)) + 10);
    // Of what somebody else has taken there is nothing.
    let none: Arc<dyn Budget> = Purse::of(10);
    let cache = Cache::new(1 << 30, &none);
    withhold(&cache, put(1, 1)).publish();
    assert_eq!(version(&cache, 1), None);
}
