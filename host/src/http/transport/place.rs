//! Where a host listens.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Port 0 is any free one.
    Tcp(SocketAddr),
    Unix(PathBuf),
}
