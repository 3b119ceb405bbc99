//! Why a host cannot serve.

use std::io;
use std::path::PathBuf;

use crate::http::gate::access::ExposureError;
use crate::http::transport::listener::ListenError;
use crate::plugin::LoadError;

/// A host that cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The plugin directory cannot be read.
    #[error("no plugins")]
    Plugins(#[source] LoadError),
    /// Instances would be exposed to the network although they are not configured as open.
    #[error(transparent)]
    Exposure(#[from] ExposureError),
    /// A socket cannot be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The pidfile cannot be written.
    #[error("cannot write {} ([paths] pidfile)", path.display())]
    Pidfile {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// A call that the operating system denied.
    #[error("{0}")]
    System(&'static str, #[source] io::Error),
}
