//! How the memory of the process is divided: what it needs itself, what its connections may take, and the budget.

use crate::config::Config;

/// The program, its threads, its plugins and what their stores need for themselves.
const OWN: u64 = 48 << 20;
/// A connection, with what hyper holds for it: what is read and not yet asked for, what is written and not yet taken.
const PLAIN: u64 = 20 << 10;
/// The same with TLS and HTTP/2.
const SECURE: u64 = 128 << 10;
/// The least that there must be to work with.
const LEAST: u64 = 4 << 20;

/// The parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    /// Bytes of the budget.
    pub(crate) budget: usize,
    /// Connections that there is memory for, at most as many as were asked for.
    pub(crate) connections: usize,
}

impl Size {
    /// As a configuration has it.
    pub(crate) fn of(config: &Config) -> Self {
        let limits = &config.limits;
        Self::divide(limits.max_memory, config.tls.is_some(), limits.max_connections)
    }

    fn divide(memory: u64, tls: bool, wanted: usize) -> Self {
        let rest = memory.saturating_sub(OWN).max(LEAST);
        let each = if tls { SECURE } else { PLAIN };
        let connections = (wanted as u64).min(rest / 4 / each);
        // What the allocator needs beside what it gives out.
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
