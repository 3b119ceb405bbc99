//! Counts the headers of a request while they are received: their sender is not authenticated yet.

use std::io;
use std::sync::Arc;

use crate::budget::{Budget, Payer, Share};

/// Bytes that fit into the connection's own buffer.
const AT_HAND: usize = 4 * 1024;
/// Factor from received bytes to memory: they are held as received, in a buffer that doubles, and parsed.
const TIMES: usize = 3;

/// The header block that a connection is reading.
pub(crate) struct HeaderBlock {
    budget: Arc<Budget>,
    payer: Payer,
    bytes: usize,
    /// Reserved memory; `None` for most requests, whose headers are short.
    share: Option<Share>,
}

impl HeaderBlock {
    /// The block of a connection on which nothing was read yet.
    pub(crate) fn new(budget: &Arc<Budget>, payer: Payer) -> Self {
        Self { budget: Arc::clone(budget), payer, bytes: 0, share: None }
    }

    /// Counts this many more received bytes.
    ///
    /// # Errors
    /// There is no memory for them.
    pub(crate) fn add(&mut self, bytes: usize) -> io::Result<()> {
        self.reach(self.bytes + bytes)
    }

    /// Sets the number of received bytes; 0 ends the block.
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

    /// Releases its memory.
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
