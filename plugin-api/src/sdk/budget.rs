//! The host's memory budget, for what a plugin holds on behalf of clients.

use std::fmt;

use crate::abi::budget::{KEPT, RawBudgetBox, WAITING};

/// The kind of memory that is reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// Queued data that is waiting to be processed, such as pending disk writes.
    Waiting,
    /// Retained data that can be evicted, such as a cache.
    Kept,
}

impl Memory {
    fn kind(self) -> u8 {
        match self {
            Self::Waiting => WAITING,
            Self::Kept => KEPT,
        }
    }
}

/// The host's memory budget, counted in one place: see [`Host::budget`](crate::Host::budget).
pub struct Budget(RawBudgetBox);

impl Budget {
    pub(crate) fn new(raw: RawBudgetBox) -> Self {
        Self(raw)
    }

    /// Reserves bytes before they are allocated. If it returns false, do not allocate: reject the request, or evict
    /// retained data.
    #[must_use]
    pub fn draw(&self, memory: Memory, bytes: usize) -> bool {
        self.0.draw(memory.kind(), bytes as u64)
    }

    /// Returns bytes after they were freed.
    pub fn give_back(&self, memory: Memory, bytes: usize) {
        self.0.give_back(memory.kind(), bytes as u64);
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Budget")
    }
}
