//! Who the client is, and what it may do.
//!
//! [`proxy`] tells the client from the proxies before it, [`host`] reads which host it asked. [`access`] says who may call
//! an instance, [`credentials`] what API keys a request brings; [`secrets`] that were wrong are slowed down by [`attempts`].
//! [`cors`] lets pages of other origins in, [`cross_site`] finds the requests of all others.

pub(crate) mod access;
pub(crate) mod attempts;
pub(crate) mod cors;
pub(crate) mod credentials;
pub(crate) mod cross_site;
pub(crate) mod host;
pub(crate) mod proxy;
pub(crate) mod secrets;
