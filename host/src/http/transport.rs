//! Sockets, connections and their protocols.
//!
//! [`server`] opens a [`listener`] at each [`place`], or takes one that the service manager handed over
//! ([`activation`]). [`admission`] limits the number of connections, in total and per client. A [`connection`] does
//! the TLS handshake. It then speaks HTTP/1.1, where [`deadline`], [`refusal`] and [`coalesced`] wrap the stream below
//! hyper, or HTTP/2, which is set up by [`http2`] with its [`clock`] and [`frames`]. [`upload`] and [`linger`] handle
//! what a client still sends after it was answered.

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
