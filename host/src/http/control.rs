//! The host's own routes, and the snapshot that is served.
//!
//! A [`snapshot`] is what is served at a moment: the configuration, the instances and, in the [`router`], their
//! routes. [`routes`] answers the host's own routes: [`readiness`], [`inventory`], [`metrics`], and [`orders`] to load
//! and reload.

pub(crate) mod inventory;
pub(crate) mod metrics;
pub(crate) mod orders;
mod readiness;
mod router;
pub(crate) mod routes;
pub(crate) mod snapshot;
