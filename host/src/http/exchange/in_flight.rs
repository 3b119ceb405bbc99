//! How much the host is doing: requests under way, and those being answered.
//!
//! A request takes a place among those being answered once its body is there, so that clients that send a byte now and
//! then cannot take the places of the others. Bodies are counted in bytes instead, by the [budget](crate::budget).
//!
//! What is answered on the spot is not counted: there are never more of those than threads.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The counters of one host.
#[derive(Debug, Default)]
pub(crate) struct Load {
    under_way: AtomicUsize,
    answering: AtomicUsize,
}

/// A share of a counter, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Share<'a> {
    counter: &'a AtomicUsize,
    size: usize,
}

impl<'a> Share<'a> {
    fn of(counter: &'a AtomicUsize) -> Self {
        Self { counter, size: 0 }
    }

    /// Makes the share larger; says whether the counter then is within its limit.
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
    /// Requests that have come and are not answered yet, those that are answered on the spot left out.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::SeqCst)
    }

    /// A request has come.
    pub(crate) fn begin(&self) -> Share<'_> {
        let mut share = Share::of(&self.under_way);
        share.grow(1, usize::MAX);
        share
    }

    /// A place among the requests that are answered at a time, if there is one.
    pub(crate) fn answer(&self, limit: usize) -> Option<Share<'_>> {
        let mut share = Share::of(&self.answering);
        share.grow(1, limit).then_some(share)
    }

    /// Whether there is a place among them, for what gives it back at once.
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
