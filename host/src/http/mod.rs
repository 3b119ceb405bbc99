//! HTTP: connections, requests, routes, access, answers.
//!
//! `listener` (sockets) -> `server` (which ones) with `gate` (how many connections, and whose) -> `connection` (TLS, protocol;
//! below hyper `refusal`, `deadline` and `together`, or `http2` and `frames`; what a client still sends after its answer:
//! `upload` and `linger`) -> `app` (what a request leads to, by the `snapshot` of the
//! moment) with `proxy` (who the client is) -> `call` with `body` and `access` (what may come in) -> `request` (as the
//! plugin sees it) -> the plugin -> `response`, `cors`. What is seen from outside: `metrics`,
//! `trace`, and of guessed `secrets` the `attempts`.

pub(crate) mod access;
mod app;
mod attempts;
mod body;
mod call;
mod connection;
mod control;
mod cors;
mod deadline;
mod frames;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod gate;
#[cfg(test)]
mod growth;
mod header_block;
mod http2;
mod in_time;
mod lines;
mod linger;
pub(crate) mod listener;
mod load;
mod metrics;
mod proxy;
mod refusal;
mod request;
mod response;
pub(crate) mod router;
mod secrets;
pub(crate) mod server;
mod snapshot;
mod together;
mod trace;
mod untaken;
mod upload;

pub(crate) use self::app::App;
pub(crate) use self::control::plugins;
pub(crate) use self::snapshot::{Snapshot, Unloaded};
