//! Sockets, connections and their protocols.
//!
//! [`server`] opens a [`listener`] at each [`place`], or takes one that the service manager handed over ([`activation`]).
//! [`admission`] decides how many connections there may be, and whose. A [`connection`] does the TLS handshake and speaks
//! HTTP/1.1, where [`deadline`], [`refusal`] and [`coalesced`] stand below hyper, or HTTP/2, as [`http2`] sets it up, with its
//! [`clock`] and [`frames`]. What a client still sends after it was answered: [`upload`] and [`linger`].

pub(crate) mod activation;
mod admission;
mod clock;
mod coalesced;
mod connection;
mod deadline;
mod frames;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod http2;
mod linger;
pub(crate) mod listener;
mod place;
mod refusal;
pub(crate) mod server;
mod upload;
