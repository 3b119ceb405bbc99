//! Listening sockets: TCP addresses and Unix socket files.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixSocket, UnixStream};

use super::activation::{Inherited, Socket};
use super::place::Place;

/// Mode of a Unix socket's file: the host's own user and group may connect.
const UNIX_MODE: u32 = 0o660;
/// Length of the system's queue of connections that are not accepted yet.
const BACKLOG: u32 = 1024;

/// A place where the host cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// An address.
    #[error("cannot listen on {address} ([network] bindto, port)")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// A file.
    #[error("cannot listen on {} ([network] unix_socket)", path.display())]
    Unix {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The service manager listens where nobody will be served.
    #[error(
        "the service manager handed over {0}, and neither [network] bindto and port nor unix_socket is that: write the same \
         address in both; `ListenStream=6123` is [::]:6123, and one that other machines reach is not taken for a bindto of \
         this machine"
    )]
    Unwanted(String),
    /// Two sockets for one key.
    #[error(
        "the service manager handed over {0} beside another socket for the same key of [network], which has one address: \
         leave one `ListenStream=`"
    )]
    Twice(String),
}

/// A listening socket.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixFile),
    /// A socket of the service manager, which keeps listening when this is dropped.
    Inherited(Handed),
}

/// A socket that was handed over.
#[derive(Debug)]
pub(crate) enum Handed {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// An accepted connection.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    /// Binds a place. Connections wait in its queue until they are accepted.
    pub(crate) async fn bind(place: &Place) -> Result<Self, ListenError> {
        match place {
            Place::Tcp(address) => match TcpListener::bind(address).await {
                Ok(listener) => Ok(Self::Tcp(listener)),
                Err(source) => Err(ListenError::Tcp { address: *address, source }),
            },
            Place::Unix(path) => match UnixFile::bind(path).await {
                Ok(listener) => Ok(Self::Unix(listener)),
                Err(source) => Err(ListenError::Unix { path: path.clone(), source }),
            },
        }
    }

    /// Uses the socket that was handed over for this place.
    pub(crate) fn inherit(inherited: &Inherited, place: &Place) -> Result<Self, ListenError> {
        let listener = match &inherited.socket {
            Socket::Tcp(socket, _) => socket.try_clone().and_then(TcpListener::from_std).map(Handed::Tcp),
            Socket::Unix(socket, _) => socket.try_clone().and_then(UnixListener::from_std).map(Handed::Unix),
        };
        listener.map(Self::Inherited).map_err(|source| match place {
            Place::Tcp(address) => ListenError::Tcp { address: *address, source },
            Place::Unix(path) => ListenError::Unix { path: path.clone(), source },
        })
    }

    /// Accepts the next connection, and returns its peer address if it has one.
    pub(crate) async fn accept(&self) -> io::Result<(Stream, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) | Self::Inherited(Handed::Tcp(listener)) => {
                let (stream, address) = listener.accept().await?;
                Ok((Stream::Tcp(stream), Some(address.ip().to_canonical())))
            }
            Self::Unix(UnixFile { listener, .. }) | Self::Inherited(Handed::Unix(listener)) => {
                Ok((Stream::Unix(listener.accept().await?.0), None))
            }
        }
    }

    /// The address with the port that the system chose.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) | Self::Inherited(Handed::Tcp(listener)) => listener.local_addr().ok(),
            Self::Unix(_) | Self::Inherited(Handed::Unix(_)) => None,
        }
    }

    /// Whether it keeps listening without this process.
    pub(crate) fn is_inherited(&self) -> bool {
        matches!(self, Self::Inherited(_))
    }

    /// Removes its file, so that no new client connects. Clients in the queue are still accepted.
    pub(crate) fn withdraw(&self) {
        if let Self::Unix(file) = self {
            file.remove();
        }
    }

    /// Whether clients can still find it: somebody may have removed its file.
    pub(crate) fn is_in_place(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Inherited(_) => true,
            Self::Unix(file) => file.is_in_place(),
        }
    }
}

/// A socket with a file, which is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct UnixFile {
    listener: UnixListener,
    path: PathBuf,
    inode: (u64, u64),
}

impl UnixFile {
    async fn bind(path: &Path) -> io::Result<Self> {
        remove_stale(path).await?;
        let socket = UnixSocket::new_stream()?;
        socket.bind(path)?;
        // Before it listens nobody can connect, whatever mode the file was created with.
        std::fs::set_permissions(path, PermissionsExt::from_mode(UNIX_MODE))?;
        let inode = inode(path)?;
        Ok(Self { listener: socket.listen(BACKLOG)?, path: path.to_owned(), inode })
    }

    fn is_in_place(&self) -> bool {
        inode(&self.path).is_ok_and(|inode| inode == self.inode)
    }

    fn remove(&self) {
        // Another process, or a later configuration of this one, may have replaced the file with its own.
        if self.is_in_place() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Drop for UnixFile {
    fn drop(&mut self) {
        self.remove();
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Removes a stale socket file, as left behind by a process that was killed.
async fn remove_stale(path: &Path) -> io::Result<()> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file is there and is no socket"));
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_taken_over_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let place = Place::Unix(path.clone());
        let listener = Listener::bind(&place).await.unwrap();
        assert!(listener.is_in_place());
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        let ListenError::Unix { source, .. } = Listener::bind(&place).await.unwrap_err() else { panic!() };
        assert_eq!(source.kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_that_is_not_ours_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        std::fs::write(&path, "kept").unwrap();
        assert!(Listener::bind(&Place::Unix(path.clone())).await.is_err());
        std::fs::remove_file(&path).unwrap();
        let listener = Listener::bind(&Place::Unix(path.clone())).await.unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "kept").unwrap();
        assert!(!listener.is_in_place());
        drop(listener);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept");
    }
}
