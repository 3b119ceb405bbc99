//! The session engine: ids, records, rules and stores. It knows neither HTTP nor the plugin ABI.
//!
//! - [`sessions`]: the operations on sessions; [`rules`]: lifetimes, limits and policies; [`error`]: how an operation fails
//! - [`budget`]: memory quota for what stores hold on behalf of their callers
//! - [`metrics`]: counters and histograms; `outage`: the log lines of a store that fails and recovers
//! - [`config`]: `sessman.json`; [`secret`]: strings whose `Debug` is redacted
//! - [`id`]: the id that a client holds, and the handle and hash that a store keeps of it
//! - [`data`]: JSON that every store can hold without loss
//! - [`record`]: a session as it is stored, and a change to it; [`mark`]: tells apart the sessions that reuse one handle
//! - [`time`]: timestamps and the engine's clock
//! - [`store`]: the trait that stores implement, and the stores
//!
//! Each store is a cargo feature; all are on by default.

#![cfg_attr(
    not(all(feature = "memory", feature = "mongodb", feature = "redis", feature = "sqlite")),
    allow(dead_code, reason = "what stores have in common is used by those that are there")
)]

pub mod budget;
pub mod config;
pub mod data;
pub mod error;
pub mod events;
pub mod id;
pub mod labels;
pub mod mark;
pub mod metrics;
mod outage;
pub mod record;
pub mod rules;
pub mod secret;
pub mod sessions;
pub mod store;
pub mod time;
