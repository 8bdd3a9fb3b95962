//! Stories of a door and a pool on two machines.

use std::path::Path;
use std::time::Duration;

use crate::site::{FakePool, PATIENCE, Site};
use hyper::StatusCode;
use penstock_door::config::TlsFiles;
use penstock_door::{Door, PoolAccess};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and its key, as PEM.
fn certificate(authority: &Authority, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn pool_tls(authority: &Authority) -> ServerTlsConfig {
    let (certificate, key) = certificate(authority, "pool02.example.org");
    ServerTlsConfig::new()
        .identity(Identity::from_pem(certificate, key))
        .client_ca_root(Certificate::from_pem(authority.pem()))
}

/// The door's files, signed by one authority and trusting another.
fn door_files(directory: &Path, trusted: &Authority, signer: &Authority) -> TlsFiles {
    let (certificate, key) = certificate(signer, "door.example.org");
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    TlsFiles {
        ca: write("ca.pem", &trusted.pem()),
        cert: write("door.pem", &certificate),
        key: write("door.key", &key),
        domain: Some("pool02.example.org".into()),
    }
}

/// A site whose only pool is reached by TLS.
async fn site(pool: FakePool, address: std::net::SocketAddr, files: TlsFiles) -> Site {
    let mut site = Site::prepare(|config| {
        config.pools[0].access = PoolAccess::Tls { address: address.to_string(), files };
    })
    .await;
    site.pool = pool;
    site
}

#[tokio::test]
async fn a_door_and_a_pool_that_trust_one_authority_work_together() {
    let directory = tempfile::tempdir().unwrap();
    let authority = authority();
    let (pool, address) = FakePool::start_tls(pool_tls(&authority)).await;
    let mut site = site(pool, address, door_files(directory.path(), &authority, &authority)).await;
    site.start_door().await;
    assert_eq!(site.put("/file", b"hello").await.status, StatusCode::CREATED);
    assert_eq!(site.get("/file").await.status, StatusCode::TEMPORARY_REDIRECT);
}

#[tokio::test]
async fn a_door_with_a_certificate_of_another_authority_is_not_let_in() {
    let directory = tempfile::tempdir().unwrap();
    let (authority, other) = (authority(), authority());
    let (pool, address) = FakePool::start_tls(pool_tls(&authority)).await;
    let site = site(pool, address, door_files(directory.path(), &authority, &other)).await;
    let door = Door::start(site.config().clone()).await.unwrap();
    assert!(!door.wait_for_pools(Duration::from_millis(500)).await);
    door.stop().await;
    assert!(site.pool.requests().is_empty());
}

#[tokio::test]
async fn a_pool_that_is_not_the_one_it_says_is_not_trusted() {
    let directory = tempfile::tempdir().unwrap();
    let (authority, other) = (authority(), authority());
    let (pool, address) = FakePool::start_tls(pool_tls(&other)).await;
    let site = site(pool, address, door_files(directory.path(), &authority, &other)).await;
    let door = Door::start(site.config().clone()).await.unwrap();
    assert!(!door.wait_for_pools(Duration::from_millis(500)).await);
    assert!(tokio::time::timeout(PATIENCE, door.stop()).await.is_ok());
}
