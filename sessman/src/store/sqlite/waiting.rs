//! How much memory the writes that wait may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::budget::{Budget, Drawn, Kind};

/// Bytes of what waits for the writer or its disk, at most: some seconds of writes for a disk, and little for a machine.
pub(super) const MAX_WAITING_BYTES: usize = 32 << 20;

/// What a write takes beside what it brings along.
const OVERHEAD: usize = 512;

/// Bytes that are taken, of so many.
pub(super) struct Waiting {
    taken: AtomicUsize,
    limit: usize,
    /// Of all stores, and of those who run them.
    budget: Arc<dyn Budget>,
}

/// Given back when it is dropped.
pub(super) struct Share {
    waiting: Arc<Waiting>,
    drawn: Drawn,
}

impl Waiting {
    pub(super) fn new(limit: usize, budget: &Arc<dyn Budget>) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), limit, budget: Arc::clone(budget) })
    }

    /// A share for a write that brings so many bytes along, if it is to be had. One by itself always fits: how large it
    /// may be is for others to say, and whether there is memory for it.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        let bytes = bytes + OVERHEAD;
        let fits = |taken: usize| (taken == 0 || taken + bytes <= self.limit).then_some(taken + bytes);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        let mut drawn = Drawn::new(&self.budget, Kind::Waiting);
        if drawn.grow(bytes) {
            return Some(Share { waiting: self.clone(), drawn });
        }
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
        None
    }

    /// Bytes that are taken now.
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.waiting.taken.fetch_sub(self.drawn.bytes(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{Purse, Unlimited};

    #[test]
    fn bytes_come_back_and_one_that_is_alone_always_fits() {
        let waiting = Waiting::new(10_000, &Unlimited::shared());
        let large = waiting.take(1_000_000).unwrap();
        assert!(waiting.take(0).is_none());
        drop(large);
        let shares: Vec<_> = std::iter::from_fn(|| waiting.take(1_488)).collect();
        assert_eq!((shares.len(), waiting.taken()), (5, 10_000));
        drop(shares);
        assert_eq!(waiting.taken(), 0);
    }

    #[test]
    fn no_more_waits_than_there_is_memory_for() {
        let purse = Purse::of(5_000);
        let budget: Arc<dyn Budget> = purse.clone();
        let waiting = Waiting::new(10_000, &budget);
        assert!(waiting.take(5_000).is_none());
        let shares: Vec<_> = std::iter::from_fn(|| waiting.take(1_488)).collect();
        assert_eq!((shares.len(), waiting.taken(), purse.left()), (2, 4_000, 1_000));
        drop(shares);
        assert_eq!((waiting.taken(), purse.left()), (0, 5_000));
    }
}
