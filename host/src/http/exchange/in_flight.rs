//! The load of the host: requests that have arrived, and those being answered.
//!
//! A request takes a slot among those being answered only after its body was read, so that clients that send one byte
//! now and then cannot use up the slots. Bodies are limited in bytes instead, by the [budget](crate::budget).
//!
//! Requests that are answered synchronously are not counted: there are never more of them than threads.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The counters of one host.
#[derive(Debug, Default)]
pub(crate) struct Load {
    under_way: AtomicUsize,
    answering: AtomicUsize,
}

/// A share of a counter, returned when this is dropped.
#[derive(Debug)]
pub(crate) struct Share<'a> {
    counter: &'a AtomicUsize,
    size: usize,
}

impl<'a> Share<'a> {
    fn of(counter: &'a AtomicUsize) -> Self {
        Self { counter, size: 0 }
    }

    /// Increases the share. Returns whether the counter is then within its limit.
    fn grow(&mut self, by: usize, limit: usize) -> bool {
        self.size += by;
        self.counter.fetch_add(by, Ordering::SeqCst).saturating_add(by) <= limit
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.counter.fetch_sub(self.size, Ordering::SeqCst);
    }
}

impl Load {
    /// Number of requests that have arrived and are not answered yet, without those that are answered synchronously.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::SeqCst)
    }

    /// Counts a request that has arrived.
    pub(crate) fn begin(&self) -> Share<'_> {
        let mut share = Share::of(&self.under_way);
        share.grow(1, usize::MAX);
        share
    }

    /// Takes a slot among the requests that are answered concurrently, if there is a free one.
    pub(crate) fn answer(&self, limit: usize) -> Option<Share<'_>> {
        let mut share = Share::of(&self.answering);
        share.grow(1, limit).then_some(share)
    }

    /// Whether there is a free slot, for requests that would release it immediately.
    pub(crate) fn has_place(&self, limit: usize) -> bool {
        self.answering.load(Ordering::SeqCst) < limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_given_back() {
        let load = Load::default();
        let first = load.answer(1);
        assert!(first.is_some() && load.answer(1).is_none() && !load.has_place(1));
        drop(first);
        assert!(load.has_place(1));
        assert!(load.answer(1).is_some());
        let request = load.begin();
        assert_eq!(load.under_way(), 1);
        drop(request);
        assert_eq!(load.under_way(), 0);
    }
}
