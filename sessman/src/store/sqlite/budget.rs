//! How much memory the writes that wait may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of what waits for the writer or its disk, at most: some seconds of writes for a disk, and little for a machine.
pub(super) const MAX_WAITING_BYTES: usize = 32 << 20;

/// What a write takes beside what it brings along.
const OVERHEAD: usize = 512;

/// Bytes that are taken, of so many.
#[derive(Debug)]
pub(super) struct Budget {
    taken: AtomicUsize,
    limit: usize,
}

/// Given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), limit })
    }

    /// A share for a write that brings so many bytes along, if it is to be had. One by itself always fits: how large it
    /// may be is for others to say.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        let bytes = bytes + OVERHEAD;
        let fits = |taken: usize| (taken == 0 || taken + bytes <= self.limit).then_some(taken + bytes);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Share { budget: self.clone(), bytes })
    }

    /// Bytes that are taken now.
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_one_that_is_alone_always_fits() {
        let budget = Budget::new(10_000);
        let large = budget.take(1_000_000).unwrap();
        assert!(budget.take(0).is_none());
        drop(large);
        let shares: Vec<_> = std::iter::from_fn(|| budget.take(1_488)).collect();
        assert_eq!((shares.len(), budget.taken()), (5, 10_000));
        drop(shares);
        assert_eq!(budget.taken(), 0);
    }
}
