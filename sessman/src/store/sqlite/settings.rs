//! How to keep sessions in a SQLite file.

use std::path::PathBuf;

/// When a write counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// When it is on disk: an answered write survives a loss of power.
    #[default]
    Full,
    /// When the operating system has it: an answered write survives the end of this process. A loss of power may
    /// take the last ones, and leaves the file whole.
    Normal,
}

/// How to keep sessions in a SQLite file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteConfig {
    /// The file. It is made if it is missing, its folder is not.
    pub path: PathBuf,
    /// When a write counts as done.
    pub durability: Durability,
    /// Memory for records in front of the file, in bytes; 0 for none.
    pub cache_bytes: usize,
}

/// Room for about 100,000 sessions with 200 bytes of data.
pub const CACHE_BYTES: usize = 64 << 20;
