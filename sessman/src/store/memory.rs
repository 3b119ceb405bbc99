//! The store in this process's memory: nothing to install, nothing kept over a restart.
//!
//! It is bounded by bytes. When it is full, expired records go first; live ones are never dropped, the caller is told
//! that it is full instead.
//!
//! - [`MemoryConfig`]: how much memory; `config`: its keys in `sessman.json`
//! - [`MemoryStore`]: the store; `shard`: the records whose handles begin alike; `claims`: the users' places

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
