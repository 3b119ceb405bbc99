//! The store over TLS: the server of the run behind a door that speaks it, and asks for a certificate.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::store::conformance::away::record;
use crate::store::conformance::certificates;
use crate::store::{Created, Store as _, StoreError};

/// Listens on a port and passes on to `server` what those say who show a certificate of `ca`.
async fn door(folder: &Path, server: String) -> u16 {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.pem")).unwrap()).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from_pem_file(folder.join("server.pem")).unwrap()],
            PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, server) = (acceptor.clone(), server.clone());
            tokio::spawn(async move {
                let mut inside = acceptor.accept(stream).await?;
                let mut outside = TcpStream::connect(server).await?;
                tokio::io::copy_bidirectional(&mut inside, &mut outside).await
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_knows_the_server_and_shows_a_certificate() {
    let Some(standin) = outage::StandIn::start(0) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    if !certificates::make(folder.path()) {
        return;
    }
    let read = |name: &str| fs::read_to_string(path(name)).unwrap();
    fs::write(path("own.pem"), read("client.pem") + &read("client.key")).unwrap();
    let port = door(folder.path(), format!("127.0.0.1:{}", standin.port)).await;
    let good = MongoConfig {
        tls_ca_file: Some(path("ca.pem")),
        tls_certificate_key_file: Some(path("own.pem")),
        ..config(&format!("localhost:{port}"), "sessman".into())
    };
    let store = MongoStore::open(good.clone()).unwrap();
    outage::wait_for_indexes(&good).await;
    let one = record(1);
    assert_eq!(store.create(Arc::clone(&one), one.created_at).await.unwrap(), Created::Yes);
    assert_eq!(store.load(one.handle, one.created_at).await.unwrap().live(), Some(one));
    store.close().await;

    let refused = |config: MongoConfig| async move {
        let store = MongoStore::open(config).unwrap();
        let error = store.ping().await.unwrap_err();
        store.close().await;
        error
    };
    let by_nobody = {
        let url = Secret::new(format!("mongodb://localhost:{port}/?tls=true"));
        MongoConfig { server_url: url, tls_ca_file: None, ..good.clone() }
    };
    let by_another = MongoConfig { tls_ca_file: Some(path("other.pem")), ..good.clone() };
    let without = MongoConfig { tls_certificate_key_file: None, ..good.clone() };
    let plain = MongoConfig { tls_ca_file: None, tls_certificate_key_file: None, ..good.clone() };
    for config in [by_nobody, by_another, without, plain] {
        assert!(matches!(refused(config).await, StoreError::Unavailable(_)));
    }
    // A key alone is no certificate.
    for file in ["nothing.pem", "client.key", "client.pem"] {
        let error = refused(MongoConfig { tls_certificate_key_file: Some(path(file)), ..good.clone() }).await;
        assert!(matches!(error, StoreError::Unusable(_)), "{file}: {error:?}");
    }
}
