//! Sharded data: a shard per thread for data that every thread writes all the time. With one place for all, the cache
//! line would bounce between the cores.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Number of shards; with more threads, several share one.
const PLACES: usize = 16;

/// A shard of `T` for each thread.
#[derive(Debug, Default)]
pub(crate) struct Spread<T>([Place<T>; PLACES]);

/// Aligned so that two shards never share a cache line, also with adjacent-line prefetch.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Place<T>(T);

impl<T> Spread<T> {
    /// This thread's shard; with many threads others use it, too.
    pub(crate) fn mine(&self) -> &T {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static MINE: usize = THREADS.fetch_add(1, Ordering::Relaxed) % PLACES;
        }
        &self.0[MINE.with(|mine| *mine)].0
    }

    /// The shards of all threads.
    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|place| &place.0)
    }
}

/// A counter that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(Spread<AtomicU64>);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.mine().fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.all().map(|part| part.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_threads_add_is_all_there() {
        let counter = Counter::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * PLACES {
                scope.spawn(|| (0..100).for_each(|_| counter.add(2)));
            }
        });
        assert_eq!(counter.get(), 2 * PLACES as u64 * 200);
    }

    #[test]
    fn threads_have_places_of_their_own() {
        let spread = Spread::<u8>::default();
        let mine = || std::ptr::from_ref(spread.mine()).addr();
        let other = std::thread::scope(|scope| scope.spawn(mine).join().unwrap());
        assert!(mine() == mine() && mine().abs_diff(other) >= 128);
    }
}
