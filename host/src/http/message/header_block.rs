//! The headers of a request, counted while they come: who sends them has shown nothing yet.

use std::io;
use std::sync::Arc;

use crate::budget::{Budget, Payer, Share};

/// Bytes that a connection has room for.
const AT_HAND: usize = 4 * 1024;
/// They are there as they came, in a buffer that doubles, and as what they say.
const TIMES: usize = 3;

/// The header block that a connection is reading.
pub(crate) struct HeaderBlock {
    budget: Arc<Budget>,
    payer: Payer,
    bytes: usize,
    /// Few are long.
    share: Option<Share>,
}

impl HeaderBlock {
    /// Of a connection on which nothing was read yet.
    pub(crate) fn new(budget: &Arc<Budget>, payer: Payer) -> Self {
        Self { budget: Arc::clone(budget), payer, bytes: 0, share: None }
    }

    /// So many bytes more have come.
    ///
    /// # Errors
    /// There is no memory for them.
    pub(crate) fn add(&mut self, bytes: usize) -> io::Result<()> {
        self.reach(self.bytes + bytes)
    }

    /// So many bytes have come; none is the end of it.
    ///
    /// # Errors
    /// As those of [`add`](Self::add).
    pub(crate) fn reach(&mut self, bytes: usize) -> io::Result<()> {
        if bytes == 0 {
            self.end();
            return Ok(());
        }
        self.bytes = bytes;
        let wanted = if self.bytes > AT_HAND { TIMES * self.bytes } else { 0 };
        let drawn = self.share.as_ref().map_or(0, Share::bytes);
        if wanted <= drawn {
            return Ok(());
        }
        let share = self.share.get_or_insert_with(|| self.budget.share(self.payer));
        if share.grow(wanted - drawn) {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::OutOfMemory, "there is no memory for the headers"))
    }

    /// What it took is free again.
    pub(crate) fn end(&mut self) {
        self.bytes = 0;
        self.share = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_ones_take_memory_until_they_end() {
        let budget = Budget::new(1 << 20);
        let mut block = HeaderBlock::new(&budget, Payer::Stranger(budget.client(None)));
        block.add(AT_HAND).unwrap();
        assert_eq!(budget.taken(), 0);
        block.add(1_000).unwrap();
        assert_eq!(budget.taken(), TIMES * (AT_HAND + 1_000));
        assert!(block.add(64 * 1024).is_err());
        block.end();
        assert_eq!(budget.taken(), 0);
        block.add(AT_HAND).unwrap();
    }
}
