//! PEM files of certificates and keys.

use std::path::{Path, PathBuf};

pub use penstock_service::certificate::not_after;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Why certificates or keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read, or is no PEM.
    #[error("cannot read {path}: {problem}")]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// It holds nothing of what was looked for.
    #[error("{path} holds no {what} (PEM)")]
    Nothing {
        /// The file or directory.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// Certificate and key do not belong together, or are of a kind that TLS does not use.
    #[error("{cert} and {key} cannot be used together: {problem}")]
    Pair {
        /// The certificates' file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The list of revoked certificates, or the verifier built over it.
    #[error("the certificates of {path} cannot be used: {problem}")]
    Trust {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The cryptographic library refuses the protocol versions.
    #[error("TLS cannot be set up: {0}")]
    SetUp(rustls::Error),
}

impl CertificateError {
    pub(super) fn read(path: &Path, problem: impl std::fmt::Display) -> CertificateError {
        CertificateError::Read { path: path.to_owned(), problem: problem.to_string() }
    }
}

/// The certificates of a PEM file, in its order.
pub fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| CertificateError::read(path, text(&error)))?;
    if certificates.is_empty() {
        return Err(CertificateError::Nothing { path: path.to_owned(), what: "certificate" });
    }
    Ok(certificates)
}

/// The private key of a PEM file.
pub fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            CertificateError::Nothing { path: path.to_owned(), what: "private key without a passphrase" }
        }
        error => CertificateError::read(path, text(&error)),
    })
}

/// What the system said, without what the library says around it.
pub(super) fn text(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_certificates_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nonsense.pem");
        let missing = read_chain(&path).unwrap_err().to_string();
        assert!(missing.starts_with(&format!("cannot read {}: No such file", path.display())), "{missing}");
        std::fs::write(&path, "nonsense").unwrap();
        assert!(read_chain(&path).unwrap_err().to_string().ends_with("holds no certificate (PEM)"));
        let no_key = read_key(&path).unwrap_err().to_string();
        assert!(no_key.ends_with("holds no private key without a passphrase (PEM)"), "{no_key}");
    }
}
