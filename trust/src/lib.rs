//! Certificates, as files: what a daemon shows of itself, and whom it believes. Door and pool share this; what they do
//! with it over their connections is their own.
//!
//! * [`certificate`]: PEM files of certificates and keys, and when a certificate ends.
//! * [`directory`]: a directory of authorities and revocation lists as grids have it.
//! * [`server`]: a server's certificate and key, read again when they change.
#![forbid(unsafe_code)]

pub mod certificate;
pub mod directory;
pub mod server;

pub use certificate::CertificateError;
pub use server::{ServerFiles, ServerIdentity, provider};
