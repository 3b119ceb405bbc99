//! The byte stream of a connection: TCP, or TLS over TCP.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::failure::Trouble;
use super::server_url::Address;
use super::settings::Tls;

/// TCP keepalive: after how long an idle connection is probed, and how often without a reply until it is closed.
const KEPT_ALIVE_AFTER: Duration = Duration::from_secs(60);
const KEPT_ALIVE_EVERY: Duration = Duration::from_secs(10);
const KEPT_ALIVE_TIMES: u32 = 3;

/// The byte stream of a connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Connects to a server.
pub(super) async fn connect(address: &Address, tls: Option<&Tls>) -> Result<Box<dyn Stream>, Trouble> {
    let failed = |error: io::Error| Trouble::NoConnection(address.to_string(), Arc::new(error));
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(failed)?;
    prepare(&stream).map_err(failed)?;
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let name = ServerName::try_from(address.host.clone());
    let name = name.map_err(|_| Trouble::Permanent("the server's name cannot be in a certificate".into()))?;
    // Read for each connection, so that a renewed certificate needs no restart.
    let connector = TlsConnector::from(Arc::new(client_config(tls)?));
    Ok(Box::new(connector.connect(name, stream).await.map_err(failed)?))
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    // Commands are small, and latency matters.
    stream.set_nodelay(true)?;
    // A firewall may drop an idle connection, and a server may vanish silently.
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEPT_ALIVE_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, KEPT_ALIVE_EVERY)?;
    sockopt::set_tcp_keepcnt(stream, KEPT_ALIVE_TIMES)?;
    Ok(())
}

fn client_config(tls: &Tls) -> Result<ClientConfig, Trouble> {
    let unusable = |error: rustls::Error| Trouble::Permanent(format!("the TLS settings: {error}"));
    let mut roots = RootCertStore::empty();
    match &tls.ca_file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            for certificate in certificates("tls_ca_file", path)? {
                roots.add(certificate).map_err(unusable)?;
            }
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(roots);
    let Some((certificate_file, key_file)) = &tls.own_files else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates("tls_certificate_file", certificate_file)?;
    let key = PrivateKeyDer::from_pem_file(key_file);
    let key = key.map_err(|error| unreadable("tls_key_file", key_file, &error))?;
    builder.with_client_auth_cert(chain, key).map_err(unusable)
}

fn certificates(name: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Trouble> {
    let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|error| unreadable(name, path, &error))?;
    if certificates.is_empty() {
        return Err(Trouble::Permanent(format!("{name}: no certificate in {}", path.display())));
    }
    Ok(certificates)
}

fn unreadable(name: &str, path: &Path, error: &dyn std::error::Error) -> Trouble {
    Trouble::Permanent(format!("{name}: {} cannot be read: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_that_nobody_uses_is_kept_alive_and_notices_its_end() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        assert!(!sockopt::socket_keepalive(&stream).unwrap());
        prepare(&stream).unwrap();
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), KEPT_ALIVE_AFTER);
        assert_eq!(sockopt::tcp_keepintvl(&stream).unwrap(), KEPT_ALIVE_EVERY);
        assert_eq!(sockopt::tcp_keepcnt(&stream).unwrap(), KEPT_ALIVE_TIMES);
    }
}
