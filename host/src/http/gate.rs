//! Identifies the client, and authorizes its requests.
//!
//! [`proxy`] finds the client's address behind trusted proxies, and [`host`] parses the requested host. [`access`]
//! defines who may call an instance, and [`credentials`] finds the API keys of a request. Invalid [`secrets`] are
//! counted and delayed by [`attempts`]. [`cors`] admits pages of other origins, and [`cross_site`] detects requests of
//! all other pages (CSRF).

pub(crate) mod access;
pub(crate) mod attempts;
pub(crate) mod cors;
pub(crate) mod credentials;
pub(crate) mod cross_site;
pub(crate) mod host;
pub(crate) mod proxy;
pub(crate) mod secrets;
