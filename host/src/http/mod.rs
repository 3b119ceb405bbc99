//! HTTP: connections, requests, routes, access, answers.
//!
//! `server` (connections, limits, drain; below hyper `deadline` and `refusal`) -> `app` (what a request leads to,
//! by the `snapshot` of the moment) -> `call` with `body` and `access` (what may come in) -> `request` (as the plugin
//! sees it) -> the plugin -> `response`. What is seen from outside: `metrics`, `trace`, and of wrong keys `attempts`.

pub(crate) mod access;
mod app;
mod attempts;
mod body;
mod call;
mod control;
mod deadline;
mod metrics;
mod refusal;
mod request;
mod response;
pub(crate) mod router;
pub(crate) mod server;
mod snapshot;
mod trace;

pub(crate) use self::app::App;
pub(crate) use self::control::plugins;
pub(crate) use self::snapshot::{Snapshot, Unloaded};
