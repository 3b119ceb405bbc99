//! Configuration of the memory store.

/// Configuration of the memory store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryConfig {
    /// Memory for records and their indexes, in bytes: about 1 KB for a session with 200 bytes of data.
    pub max_bytes: usize,
}

impl Default for MemoryConfig {
    /// 256 MiB.
    fn default() -> Self {
        Self { max_bytes: 256 << 20 }
    }
}
