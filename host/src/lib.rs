//! The host: it reads a configuration, loads plugins and serves their routes.

pub mod config;
