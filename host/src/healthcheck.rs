//! `pserve healthcheck`: queries the health of a running host, for containers and scripts.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use crate::config::Config;

/// Limit of an answer's first line, in bytes.
const MAX_LINE: usize = 1024;

/// The health to query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Whether every instance can serve: `/readyz`.
    Ready,
    /// Whether the host answers at all: `/healthz`.
    Live,
}

/// A host that is unhealthy, or cannot be queried.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// The configuration does not say where it listens.
    #[error("[network] port is 0, so the file does not say where the host listens; use --address")]
    NoPort,
    /// There is no answer.
    #[error("no answer from {address}")]
    NoAnswer {
        /// The address that was queried.
        address: SocketAddr,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The host answered that it is unhealthy.
    #[error("{address} answered {status} to {path}")]
    Bad {
        /// The address that was queried.
        address: SocketAddr,
        /// The path that was queried.
        path: &'static str,
        /// HTTP status.
        status: u16,
    },
}

impl Question {
    fn path(self) -> &'static str {
        match self {
            Self::Ready => "/readyz",
            Self::Live => "/healthz",
        }
    }
}

/// The address at which a host with this configuration can be queried from the same machine.
///
/// # Errors
/// Its port is not known before it runs.
pub fn address(config: &Config) -> Result<SocketAddr, HealthError> {
    let address = config.network.address;
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    if address.port() == 0 { Err(HealthError::NoPort) } else { Ok(SocketAddr::new(ip, address.port())) }
}

/// Queries the host at `address`, with TLS if `tls` is set, and waits for the answer for up to `limit`. The
/// certificate is not verified: nothing secret is sent, and its names are not those of a loopback address.
///
/// # Errors
/// There is no answer, or the host is unhealthy.
pub fn ask(address: SocketAddr, tls: bool, question: Question, limit: Duration) -> Result<(), HealthError> {
    let deadline = Instant::now() + limit;
    let path = question.path();
    match status(address, tls, path, deadline) {
        Ok(200) => Ok(()),
        Ok(status) => Err(HealthError::Bad { address, path, status }),
        Err(source) => Err(HealthError::NoAnswer { address, source }),
    }
}

fn status(address: SocketAddr, tls: bool, path: &str, deadline: Instant) -> io::Result<u16> {
    let socket = TcpStream::connect_timeout(&address, left(deadline)?)?;
    socket.set_write_timeout(Some(left(deadline)?))?;
    socket.set_read_timeout(Some(left(deadline)?))?;
    let mut stream: Box<dyn Stream> = if tls {
        Box::new(StreamOwned::new(unverified_tls(address)?, socket.try_clone()?))
    } else {
        Box::new(socket.try_clone()?)
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    while !answer.contains(&b'\n') {
        socket.set_read_timeout(Some(left(deadline)?))?;
        let mut piece = [0; 256];
        let length = stream.read(&mut piece)?;
        answer.extend_from_slice(&piece[..length]);
        if length == 0 || answer.len() > MAX_LINE {
            return Err(not_http());
        }
    }
    let line = String::from_utf8_lossy(&answer);
    let mut words = line.split_ascii_whitespace();
    let is_http = words.next().is_some_and(|version| version.starts_with("HTTP/1."));
    words.next().filter(|_| is_http).and_then(|status| status.parse().ok()).ok_or_else(not_http)
}

/// A plain or TLS connection.
trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

fn unverified_tls(address: SocketAddr) -> io::Result<ClientConnection> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    ClientConnection::new(Arc::new(config), address.ip().into()).map_err(io::Error::other)
}

/// Accepts any certificate whose key signed the handshake.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Time left; never zero, which would mean no limit.
fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.checked_duration_since(Instant::now()) {
        Some(left) if !left.is_zero() => Ok(left),
        _ => Err(io::ErrorKind::TimedOut.into()),
    }
}

fn not_http() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP")
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// What comes of a server that gives this answer, in pieces.
    fn outcome(pieces: &'static [&'static str], limit: Duration) -> Result<(), HealthError> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let length = stream.read(&mut request).unwrap();
            for piece in pieces {
                stream.write_all(piece.as_bytes()).unwrap();
                stream.flush().unwrap();
            }
            let wait = if pieces.is_empty() { stream.read(&mut [0; 8]).unwrap_or(0) } else { 0 };
            (String::from_utf8_lossy(&request[..length]).into_owned(), wait)
        });
        let outcome = ask(address, false, Question::Ready, limit);
        let (request, _) = server.join().unwrap();
        assert!(request.starts_with("GET /readyz HTTP/1.1\r\nHost: localhost\r\n"), "{request}");
        outcome
    }

    #[test]
    fn only_200_is_well() {
        let limit = Duration::from_secs(30);
        assert!(outcome(&["HTTP/1.1 2", "00 OK\r\n", "\r\n"], limit).is_ok());
        let not_ready = outcome(&["HTTP/1.1 503 Service Unavailable\r\n\r\n"], limit);
        assert!(matches!(not_ready, Err(HealthError::Bad { status: 503, path: "/readyz", .. })));
        assert!(matches!(outcome(&["SSH-2.0-x\r\n"], limit), Err(HealthError::NoAnswer { .. })));
        assert!(matches!(outcome(&["HTTP/1.1"], limit), Err(HealthError::NoAnswer { .. })));
    }

    #[test]
    fn silence_has_an_end() {
        let silent = outcome(&[], Duration::from_millis(300));
        assert!(matches!(silent, Err(HealthError::NoAnswer { .. })), "{silent:?}");
    }

    #[test]
    fn nobody_there_is_an_error() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let nobody = ask(address, false, Question::Live, Duration::from_secs(30));
        assert!(matches!(nobody, Err(HealthError::NoAnswer { .. })));
    }
}
