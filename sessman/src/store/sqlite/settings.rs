//! Configuration of the SQLite store.

use std::path::PathBuf;

/// When a write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// When it is on disk: an acknowledged write survives power loss.
    #[default]
    Full,
    /// When the operating system has it: an acknowledged write survives the end of this process. Power loss may lose the last
    /// writes, but does not corrupt the file.
    Normal,
}

/// Configuration of the SQLite store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteConfig {
    /// The file. It is created if it is missing; its folder must exist.
    pub path: PathBuf,
    /// When a write is acknowledged.
    pub durability: Durability,
    /// Memory to cache records, in bytes; 0 for no cache.
    pub cache_bytes: usize,
}

/// Enough for about 100,000 sessions with 200 bytes of data.
pub const CACHE_BYTES: usize = 64 << 20;
