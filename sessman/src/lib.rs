//! The session engine: ids, records, rules and stores. It knows neither HTTP nor the plugin ABI.
//!
//! - [`sessions`]: what can be done with sessions; [`rules`]: what they follow; [`error`]: why not
//! - [`budget`]: memory that stores hold for others
//! - [`metrics`]: what is counted; `outage`: what is said in the log of a store that fails
//! - [`config`]: `sessman.json`; [`secret`]: text that must not be shown
//! - [`id`]: what a client holds, and what a store keeps of it
//! - [`data`]: JSON that every store can hold exactly
//! - [`record`]: a session as it is stored, and a change to it; [`mark`]: which of those that had its handle it is
//! - [`time`]: moments and the engine's clock
//! - [`store`]: the contract of a store, and the stores
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
pub mod mark;
pub mod metrics;
mod outage;
pub mod record;
pub mod rules;
pub mod secret;
pub mod sessions;
pub mod store;
pub mod time;
