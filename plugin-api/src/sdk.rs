//! The safe API for authors of plugins.

pub(crate) mod adapter;
pub mod budget;
pub mod export;
pub mod host;
pub mod plugin;
pub mod request;
pub mod response;
pub mod route;
pub(crate) mod stream;
