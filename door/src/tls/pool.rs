//! https towards the data ports of pools, for bytes of clients that go through the door.
//!
//! A pool is known by the certificate that it shows clients, too, and that authorities of clients vouch for; the one of
//! its gRPC port is another.

use std::path::Path;
use std::sync::Arc;

use penstock_trust::{CertificateError, certificate, directory};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Speaks https with data ports whose certificates it believes.
#[derive(Clone)]
pub struct DataPorts(TlsConnector);

impl std::fmt::Debug for DataPorts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("DataPorts")
    }
}

impl DataPorts {
    /// Believes the authorities in a PEM file, or in a directory as grids have it. Blocks.
    pub fn believing(place: &Path) -> Result<Self, CertificateError> {
        let mut roots = RootCertStore::empty();
        if place.is_dir() {
            for authority in directory::read(place)?.authorities {
                // One that TLS does not understand is no authority.
                let _ = roots.add(CertificateDer::from(authority));
            }
        } else {
            for authority in certificate::read_chain(place)? {
                let _ = roots.add(authority);
            }
        }
        if roots.is_empty() {
            return Err(CertificateError::Nothing {
                path: place.to_owned(),
                what: "authority that TLS understands",
            });
        }
        let config = ClientConfig::builder_with_provider(Arc::new(penstock_trust::provider()))
            .with_safe_default_protocol_versions()
            .map_err(CertificateError::SetUp)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// A handshake, over a connection to a host.
    pub async fn handshake(&self, host: &str, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let host = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
        self.0.connect(host, stream).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_without_authorities_is_told() {
        let place = tempfile::tempdir().unwrap();
        assert!(DataPorts::believing(place.path()).is_err());
        assert!(DataPorts::believing(&place.path().join("none")).is_err());
        let file = place.path().join("a.pem");
        std::fs::write(&file, rcgen::generate_simple_self_signed(vec!["a".into()]).unwrap().cert.pem())
            .unwrap();
        assert!(DataPorts::believing(&file).is_ok());
        assert!(DataPorts::believing(place.path()).is_ok());
    }
}
