//! The host: it reads a configuration, loads plugins and serves their routes.
//!
//! - [`cli`]: the command line
//! - `budget`: a budget for the memory that clients can make it allocate
//! - [`config`]: from an INI file and the environment to a checked configuration
//! - `plugin`: from files in a directory to instances
//! - `http`: connections, routes, access, answers
//! - `lifecycle`: reload, load and unload without downtime; `hand_over`: the switch between old and new instances
//! - [`log`]: where log lines go
//! - [`check`], [`healthcheck`]: the commands that check the files, or query a running host
//! - [`generate`]: man pages and completions, from the command line
//! - [`dev`]: watches the files and reloads what changed, for authors of plugins
//! - [`host`]: the life of the process, which uses all of them

mod budget;
pub mod check;
pub mod cli;
pub mod config;
pub mod dev;
mod error;
mod exposure;
pub mod generate;
mod hand_over;
pub mod healthcheck;
pub mod host;
mod http;
mod lifecycle;
pub mod log;
mod notify;
mod plugin;
mod source;
mod spread;
mod text;
mod trust;

#[cfg(feature = "fuzzing")]
pub use http::transport::fuzzing;
pub use plugin::{LoadError, probe_child};
