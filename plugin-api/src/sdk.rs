//! The safe API for authors of plugins.

pub(crate) mod adapter;
pub mod budget;
pub mod call;
pub mod export;
pub mod host;
pub mod plugin;
pub mod principal;
pub mod request;
pub mod response;
pub mod route;
pub mod session;
pub(crate) mod stream;
