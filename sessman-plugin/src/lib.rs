//! The session service as a `pserve` plugin: HTTP routes for the engine in `sessman`.
//!
//! A request enters through `plugin`, is parsed by `parameters`, answered by one of the files in `routes`, and
//! rendered by `render`. Rules and stores belong to the engine; nothing here decides about them.

mod candidates;
mod cookie;
mod etag;
mod id_in_request;
mod log;
mod openapi;
mod parameters;
mod plugin;
mod principal;
mod problem;
mod problem_type;
mod render;
mod routes;
mod runtime;
mod seldom;
mod service;

pub use cookie::header::values as cookie_values;
pub use plugin::Sessman;

plugin_api::export_plugin!(Sessman);
