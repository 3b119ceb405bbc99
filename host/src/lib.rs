//! The host: it reads a configuration, loads plugins and serves their routes.

pub mod cli;
pub mod config;
mod http;
pub mod log;
