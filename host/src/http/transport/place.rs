//! The addresses that a host listens on.

use std::net::SocketAddr;
use std::path::PathBuf;

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Port 0 lets the system choose one.
    Tcp(SocketAddr),
    Unix(PathBuf),
}
