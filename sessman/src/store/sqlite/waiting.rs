//! How much memory the writes that wait may take.

use std::sync::Arc;

use crate::budget::{Budget, Drawn, Kind, Pool};

/// Bytes of what waits for the writer or its disk, at most: some seconds of writes for a disk, and little for a machine.
pub(super) const MAX_WAITING_BYTES: usize = 32 << 20;

/// Memory is drawn in steps of so many bytes.
const STEP: usize = 64 * 1024;

/// What a write takes beside what it brings along.
const OVERHEAD: usize = 512;

/// Bytes that are taken, of so many.
pub(super) struct Waiting(Pool);

/// Given back when it is dropped.
pub(super) struct Share {
    waiting: Arc<Waiting>,
    bytes: usize,
}

impl Waiting {
    /// Of `limit` bytes, which draw on `budget`.
    pub(super) fn new(limit: usize, budget: &Arc<dyn Budget>) -> Arc<Self> {
        Arc::new(Self(Pool::new(limit, STEP, Drawn::new(budget, Kind::Waiting))))
    }

    /// A share for a write that brings so many bytes along, if it is to be had. One by itself always fits: how large it
    /// may be is for others to say, and whether there is memory for it.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        let bytes = bytes + OVERHEAD;
        self.0.take_one_at_least(bytes).then(|| Share { waiting: Arc::clone(self), bytes })
    }

    /// Bytes that are taken now.
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
