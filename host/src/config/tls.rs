//! `[ssl]`: a certificate and its key, checked when the configuration is read.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use hyper::header::HeaderValue;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{InconsistentKeys, ServerConfig, SupportedProtocolVersion, version};

/// The protocols offered to clients (ALPN), in order of preference.
const PROTOCOLS: [&[u8]; 3] = [HTTP_2, b"http/1.1", b"http/1.0"];
/// HTTP/2's name in ALPN.
pub(crate) const HTTP_2: &[u8] = b"h2";

/// The settings of `[ssl]`, if it is enabled: everything that a handshake needs.
#[derive(Clone)]
pub struct Tls {
    server: Arc<ServerConfig>,
    strict: Option<HeaderValue>,
}

impl Tls {
    /// The configuration for handshakes.
    pub(crate) fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// The value of `Strict-Transport-Security` (RFC 6797) in answers.
    pub(crate) fn strict_transport(&self) -> Option<&HeaderValue> {
        self.strict.as_ref()
    }

    /// Loads certificate and key.
    pub(super) fn load(
        certfile: &Path,
        keyfile: &Path,
        versions: Versions,
        hsts_seconds: u64,
    ) -> Result<Self, TlsError> {
        let certificates = certificates(certfile).map_err(TlsError::Certificate)?;
        let key = key(keyfile).map_err(TlsError::Key)?;
        let versions = match versions {
            Versions::From12 => rustls::ALL_VERSIONS,
            Versions::From13 => ONLY_13,
        };
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_protocol_versions(versions)
                .map_err(|error| TlsError::Certificate(error.to_string()))?
                .with_no_client_auth()
                .with_single_cert(certificates, key)
                .map_err(|error| unusable(certfile, keyfile, &error))?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        let strict =
            (hsts_seconds > 0).then(|| HeaderValue::from_str(&format!("max-age={hsts_seconds}")).ok());
        Ok(Self { server: Arc::new(config), strict: strict.flatten() })
    }
}

// It contains the private key.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(..)")
    }
}

const ONLY_13: &[&SupportedProtocolVersion] = &[&version::TLS13];

/// `[ssl] min_version`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Versions {
    /// TLS 1.2 and 1.3.
    From12,
    /// Only TLS 1.3.
    From13,
}

/// Which of the two files is invalid, and why. It never quotes their content.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TlsError {
    Certificate(String),
    Key(String),
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match found {
        Ok(found) if found.is_empty() => {
            Err(format!("there is no certificate in {}: PEM is expected", path.display()))
        }
        found => found.map_err(|error| unreadable(path, &error)),
    }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            format!("there is no private key in {}: PEM without a passphrase is expected", path.display())
        }
        error => unreadable(path, &error),
    })
}

/// The parser's own message may quote a line of the file, so it is not used.
fn unreadable(path: &Path, error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => format!("cannot read {}: {error}", path.display()),
        _ => format!("{} is no well-formed PEM file", path.display()),
    }
}

fn unusable(certfile: &Path, keyfile: &Path, error: &rustls::Error) -> TlsError {
    let (certificate, key) = (certfile.display(), keyfile.display());
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::Key(format!("the key in {key} is not that of the first certificate in {certificate}"))
        }
        rustls::Error::InvalidCertificate(_) => {
            TlsError::Certificate(format!("the first certificate in {certificate} is no usable X.509 one"))
        }
        _ => {
            TlsError::Key(format!("the key in {key} is of no kind that TLS uses here (RSA, ECDSA, Ed25519)"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusable_file_is_named_and_not_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let missing = folder.path().join("missing.pem");
        let empty = file("empty.pem", "no PEM here\n");
        let broken = file("broken.pem", "-----BEGIN CERTIFICATE-----\nSECRET*\n-----END CERTIFICATE-----\n");
        let junk = file("junk.pem", "-----BEGIN CERTIFICATE-----\nU0VDUkVU\n-----END CERTIFICATE-----\n");
        let key = file("key.pem", "-----BEGIN PRIVATE KEY-----\nU0VDUkVU\n-----END PRIVATE KEY-----\n");
        for (certificate, key, about, part) in [
            (&missing, &key, "certificate", "cannot read"),
            (&empty, &key, "certificate", "no certificate in"),
            (&broken, &key, "certificate", "no well-formed PEM"),
            (&junk, &missing, "key", "cannot read"),
            (&junk, &empty, "key", "no private key in"),
            (&junk, &broken, "key", "broken.pem"),
            (&junk, &key, "key", "of no kind"),
        ] {
            let error = Tls::load(certificate, key, Versions::From12, 0).unwrap_err();
            let (found, file) = match &error {
                TlsError::Certificate(_) => ("certificate", certificate),
                TlsError::Key(_) => ("key", key),
            };
            let text = format!("{error:?}");
            assert_eq!(found, about, "{text}");
            assert!(text.contains(part) && text.contains(&file.display().to_string()), "{text}");
            assert!(!text.contains("SECRET") && !text.contains("U0VD"), "{text}");
        }
    }
}
