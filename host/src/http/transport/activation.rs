//! Socket activation: sockets that the service manager listens on and hands over (sd_listen_fds(3)). It keeps them
//! open while this process is down, so that no connection is refused during a restart.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, sockopt};

use super::place::Place;
use crate::source::is_of_this_machine;

/// Names of descriptors (`FileDescriptorName=`) that assign them to a key, whatever their address is.
const FOR_BINDTO: &str = "bindto";
const FOR_UNIX_SOCKET: &str = "unix_socket";

/// Limit of sockets that are accepted.
const MOST: u64 = 64;

/// A socket that was handed over by the service manager.
#[derive(Debug)]
pub(crate) struct Inherited {
    name: Option<String>,
    pub(crate) socket: Socket,
}

#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpListener, SocketAddr),
    /// `None` is a socket with an abstract name.
    Unix(UnixListener, Option<PathBuf>),
}

/// Takes the sockets that were handed over, and marks them close-on-exec so that no child process inherits them.
///
/// # Errors
/// The variables are malformed, or a descriptor is not a listening socket.
pub(crate) fn take() -> io::Result<Vec<Inherited>> {
    let malformed = |error: String| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("LISTEN_PID, LISTEN_FDS: {error}"))
    };
    // The number determines how much is allocated.
    let number = |name| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    let count = number("LISTEN_FDS").filter(|_| number("LISTEN_PID") == Some(std::process::id().into()));
    if count.is_some_and(|count| count > MOST) {
        return Err(malformed(format!("more than {MOST} sockets")));
    }
    let descriptors = sd_listen_fds::get().map_err(|error| malformed(error.to_string()))?.into_iter();
    let mut all: Vec<(Option<String>, OwnedFd)> =
        descriptors.map(|(name, descriptor)| (name, descriptor.into_std())).collect();
    // All of them, before any error is returned.
    for (_, descriptor) in &all {
        fcntl_setfd(descriptor, FdFlags::CLOEXEC)?;
    }
    all.drain(..).map(|(name, descriptor)| Ok(Inherited { name, socket: Socket::new(descriptor)? })).collect()
}

impl Socket {
    fn new(descriptor: OwnedFd) -> io::Result<Self> {
        if !sockopt::socket_acceptconn(descriptor.as_fd())? {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a descriptor that is no socket which listens",
            ));
        }
        if sockopt::socket_domain(descriptor.as_fd())? == AddressFamily::UNIX {
            let listener = UnixListener::from(descriptor);
            listener.set_nonblocking(true)?;
            let path = listener.local_addr()?.as_pathname().map(ToOwned::to_owned);
            return Ok(Self::Unix(listener, path));
        }
        let listener = TcpListener::from(descriptor);
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self::Tcp(listener, address))
    }
}

impl Inherited {
    /// Whether it serves this configured place. A match by name alone is accepted only if the socket is not reachable
    /// from further away than the configured address: access rules for open instances are checked against the
    /// configured address.
    pub(crate) fn is_for(&self, place: &Place) -> bool {
        match (&self.socket, place) {
            (Socket::Tcp(_, address), Place::Tcp(wanted)) if self.name.as_deref() == Some(FOR_BINDTO) => {
                is_of_this_machine(address) || !is_of_this_machine(wanted)
            }
            (Socket::Unix(..), Place::Unix(_)) if self.name.as_deref() == Some(FOR_UNIX_SOCKET) => true,
            (Socket::Tcp(_, address), Place::Tcp(wanted)) => address == wanted,
            (Socket::Unix(_, path), Place::Unix(wanted)) => path.as_ref() == Some(wanted),
            _ => false,
        }
    }

    /// The socket's name or address, for people.
    pub(crate) fn shown(&self) -> String {
        let place = match &self.socket {
            Socket::Tcp(_, address) => address.to_string(),
            Socket::Unix(_, Some(path)) => path.display().to_string(),
            Socket::Unix(_, None) => "a Unix socket without a file".to_owned(),
        };
        self.name.as_ref().map_or(place.clone(), |name| format!("{place} (`{name}`)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_opens_nothing_to_the_network_that_is_configured_for_this_machine() {
        for (socket, configured, is_for) in [
            ("127.0.0.1:0", "127.0.0.1:1", true),
            ("127.0.0.1:0", "0.0.0.0:1", true),
            ("0.0.0.0:0", "192.0.2.1:1", true),
            ("0.0.0.0:0", "127.0.0.1:1", false),
            ("0.0.0.0:0", "[::ffff:127.0.0.1]:1", false),
            ("[::]:0", "[::1]:1", false),
        ] {
            let Ok(listener) = TcpListener::bind(socket) else { continue };
            let address = listener.local_addr().unwrap();
            let inherited =
                Inherited { name: Some(FOR_BINDTO.to_owned()), socket: Socket::Tcp(listener, address) };
            assert_eq!(
                inherited.is_for(&Place::Tcp(configured.parse().unwrap())),
                is_for,
                "{socket} {configured}"
            );
        }
    }
}
