//! Memory that a store holds for others. Whoever runs the engine counts it together with its own.

use std::fmt;
use std::sync::Arc;

/// What memory is drawn for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Writes that wait for their turn.
    Waiting,
    /// Records that are kept: in a cache, or because memory is all there is.
    Kept,
}

/// Memory to draw on.
pub trait Budget: Send + Sync {
    /// Draws so many bytes more, before they are allocated; says whether they were to be had.
    fn draw(&self, kind: Kind, bytes: usize) -> bool;
    /// Gives bytes back.
    fn give_back(&self, kind: Kind, bytes: usize);
}

/// Nobody counts.
#[derive(Debug, Clone, Copy)]
pub struct Unlimited;

impl Budget for Unlimited {
    fn draw(&self, _kind: Kind, _bytes: usize) -> bool {
        true
    }

    fn give_back(&self, _kind: Kind, _bytes: usize) {}
}

impl Unlimited {
    /// As a store wants it.
    pub fn shared() -> Arc<dyn Budget> {
        Arc::new(Self)
    }
}

/// Bytes that were drawn; given back when this is dropped.
pub(crate) struct Drawn {
    budget: Arc<dyn Budget>,
    kind: Kind,
    bytes: usize,
}

impl Drawn {
    /// Nothing yet.
    pub(crate) fn new(budget: &Arc<dyn Budget>, kind: Kind) -> Self {
        Self { budget: Arc::clone(budget), kind, bytes: 0 }
    }

    /// Nothing yet, of the same.
    pub(crate) fn another(&self) -> Self {
        Self::new(&self.budget, self.kind)
    }

    /// How many bytes there are.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Draws so many more, if they are to be had.
    #[must_use]
    pub(crate) fn grow(&mut self, by: usize) -> bool {
        let grows = self.budget.draw(self.kind, by);
        self.bytes += if grows { by } else { 0 };
        grows
    }

    /// Gives so many back.
    pub(crate) fn shrink(&mut self, by: usize) {
        self.bytes -= by;
        self.budget.give_back(self.kind, by);
    }
}

impl Drop for Drawn {
    fn drop(&mut self) {
        self.budget.give_back(self.kind, self.bytes);
    }
}

impl fmt::Debug for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Drawn({:?}, {} bytes)", self.kind, self.bytes)
    }
}

/// For tests: so much, of any kind.
#[cfg(test)]
pub(crate) struct Purse {
    left: std::sync::atomic::AtomicUsize,
}

#[cfg(test)]
impl Purse {
    pub(crate) fn of(bytes: usize) -> Arc<Self> {
        Arc::new(Self { left: bytes.into() })
    }

    pub(crate) fn left(&self) -> usize {
        self.left.load(std::sync::atomic::Ordering::Relaxed)
    }
}

#[cfg(test)]
impl Budget for Purse {
    fn draw(&self, _kind: Kind, bytes: usize) -> bool {
        use std::sync::atomic::Ordering::Relaxed;
        self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }

    fn give_back(&self, _kind: Kind, bytes: usize) {
        self.left.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
    }
}
