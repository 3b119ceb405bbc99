//! The store in this process's memory: nothing to install, nothing persisted.
//!
//! It is bounded by bytes. When it is full, expired records are dropped first. Live ones are never evicted: the caller gets
//! [`StoreError::Full`](super::StoreError::Full) instead.
//!
//! - [`MemoryConfig`]: how much memory; `config`: its keys in `sessman.json`
//! - [`MemoryStore`]: the store; `shard`: a shard of the records, by handle prefix; `claims`: the users' places

mod claims;
mod config;
mod settings;
mod shard;
mod store;
#[cfg(test)]
mod tests;

pub(super) use config::MemoryKeys;
pub use settings::MemoryConfig;
pub use store::MemoryStore;
