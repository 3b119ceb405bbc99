//! Divides the memory of the process: its own needs, its connections, and the budget.

use crate::config::Config;

/// Bytes for the program, its threads, its plugins and the own needs of their stores.
const OWN: u64 = 48 << 20;
/// Bytes for a connection, with hyper's buffers: what is read ahead, and what is written and not sent yet.
const PLAIN: u64 = 20 << 10;
/// Bytes for a connection with TLS and HTTP/2.
const SECURE: u64 = 128 << 10;
/// Minimum of the rest, in bytes.
const LEAST: u64 = 4 << 20;

/// The division.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    /// Bytes of the budget.
    pub(crate) budget: usize,
    /// Number of connections that there is memory for, up to the configured limit.
    pub(crate) connections: usize,
}

impl Size {
    /// The division for a configuration.
    pub(crate) fn of(config: &Config) -> Self {
        let limits = &config.limits;
        Self::divide(limits.max_memory, config.tls.is_some(), limits.max_connections)
    }

    fn divide(memory: u64, tls: bool, wanted: usize) -> Self {
        let rest = memory.saturating_sub(OWN).max(LEAST);
        let each = if tls { SECURE } else { PLAIN };
        let connections = (wanted as u64).min(rest / 4 / each);
        // The difference is the allocator's own overhead.
        let budget = (rest - connections * each) / 8 * 5;
        let whole = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Self { budget: whole(budget), connections: whole(connections).max(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_have_a_quarter_at_most() {
        let size = Size::divide(512 << 20, false, 4096);
        assert_eq!((size.connections, size.budget >> 20), (4096, 240));
        let size = Size::divide(512 << 20, true, 4096);
        assert_eq!((size.connections, size.budget >> 20), (928, 217));
        let size = Size::divide(64 << 20, false, 4096);
        assert_eq!((size.connections, size.budget >> 20), (204, 7));
        let size = Size::divide(0, true, 4096);
        assert_eq!((size.connections, size.budget >> 20), (8, 1));
        assert_eq!(Size::divide(u64::MAX, true, 7).connections, 7);
    }
}
