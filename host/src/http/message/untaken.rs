//! Answers on an HTTP/2 connection that the client has not read yet.
//!
//! A client may send a hundred requests concurrently and read none of the answers. Their bytes are therefore counted
//! per connection, too, so that a few connections cannot use up the memory of all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Overhead of a request, or of its answer, in addition to its own bytes.
pub(crate) const STREAM_BYTES: usize = 4 * 1024;
/// Limit of the untaken answers of a connection, in bytes. A single answer may be larger.
const MAX_UNTAKEN: usize = 4 << 20;

/// The bytes of one connection's untaken answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Untaken(Arc<AtomicUsize>);

/// The counted bytes of an answer, released when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    untaken: Untaken,
    bytes: usize,
}

impl Untaken {
    /// Whether so much waits already that no further request is passed to a plugin.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.0.load(Ordering::Relaxed) > MAX_UNTAKEN / 4 * 3
    }

    /// Counts an answer, if it is within the limit.
    pub(crate) fn hold(&self, bytes: usize) -> Option<Held> {
        let fits = |held: usize| (held == 0 || held + bytes <= MAX_UNTAKEN).then_some(held + bytes);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Held { untaken: self.clone(), bytes })
    }
}

impl Held {
    /// Counts further bytes on the same connection.
    pub(crate) fn another(&self, bytes: usize) -> Option<Self> {
        self.untaken.hold(bytes)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.untaken.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_always_fits_and_many_up_to_the_limit() {
        let untaken = Untaken::default();
        let large = untaken.hold(2 * MAX_UNTAKEN).unwrap();
        assert!(untaken.hold(0).is_none());
        drop(large);
        let first = untaken.hold(1 << 20).unwrap();
        let more: Vec<_> = std::iter::from_fn(|| first.another(1 << 20)).collect();
        assert_eq!((more.len(), untaken.is_nearly_full()), (3, true));
        drop((first, more));
        assert_eq!(untaken.0.load(Ordering::Relaxed), 0);
    }
}
