//! Memory quota of queued writes.

use std::sync::Arc;

use crate::budget::{Budget, Drawn, Kind, Pool};

/// The most bytes of writes that wait for the writer or its disk: some seconds of work for a disk.
pub(super) const MAX_WAITING_BYTES: usize = 32 << 20;

/// Memory is taken from the budget in steps of this many bytes.
const STEP: usize = 64 * 1024;

/// Memory of a queued write in bytes, without its content.
const OVERHEAD: usize = 512;

/// The quota, and the bytes in use.
pub(super) struct Waiting(Pool);

/// A part of the quota, returned when this is dropped.
pub(super) struct Share {
    waiting: Arc<Waiting>,
    bytes: usize,
}

impl Waiting {
    /// A quota of `limit` bytes, charged to `budget`.
    pub(super) fn new(limit: usize, budget: &Arc<dyn Budget>) -> Arc<Self> {
        Arc::new(Self(Pool::new(limit, STEP, Drawn::new(budget, Kind::Waiting))))
    }

    /// Takes the share of a write with this many bytes, if the quota allows it. A single write always fits the quota: its size is
    /// limited elsewhere, and by the budget.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        let bytes = bytes + OVERHEAD;
        self.0.take_one_at_least(bytes).then(|| Share { waiting: Arc::clone(self), bytes })
    }

    /// Bytes in use.
    pub(super) fn taken(&self) -> usize {
        self.0.used()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.waiting.0.free(self.bytes);
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
        assert_eq!(waiting.taken(), 0);
        drop(waiting);
        assert_eq!(purse.left(), 5_000);
    }
}
