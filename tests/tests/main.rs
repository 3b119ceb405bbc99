//! End to end: what a user does, against the real process and the real plugin files.
#![allow(clippy::unwrap_used, reason = "a test that finds something missing is to fail")]

mod access;
mod cli;
mod compat;
mod configuration;
mod cors;
mod counters;
mod durability;
mod encryption;
mod events;
mod forward_auth;
mod hostile;
mod javascript_class;
mod keys;
mod lifecycle;
mod lifetimes;
mod limits;
mod login_flow;
mod logs;
mod metrics;
mod mongodb_faults;
mod notify;
mod openapi;
mod outage;
mod plugins;
mod proxies;
mod races;
mod readme;
mod redis_faults;
mod sessions;
mod sqlite_faults;
mod template;
mod tls;
mod unix_socket;
mod users;
mod verify;
