//! The host's memory, for what a plugin holds for others.

use std::fmt;

use crate::abi::budget::{KEPT, RawBudgetBox, WAITING};

/// What memory is drawn for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// What waits for something else to take it, such as writes for a disk.
    Waiting,
    /// What is kept, such as a cache, and could be done without.
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

/// The host's memory, counted in one place: see [`Host::budget`](crate::Host::budget).
pub struct Budget(RawBudgetBox);

impl Budget {
    pub(crate) fn new(raw: RawBudgetBox) -> Self {
        Self(raw)
    }

    /// Draws bytes, before they are allocated. Without them, do without: refuse what asked for them, or drop what is kept.
    #[must_use]
    pub fn draw(&self, memory: Memory, bytes: usize) -> bool {
        self.0.draw(memory.kind(), bytes as u64)
    }

    /// Gives bytes back, once they are freed.
    pub fn give_back(&self, memory: Memory, bytes: usize) {
        self.0.give_back(memory.kind(), bytes as u64);
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Budget")
    }
}
