//! Client certificates: whose they are, and whether the site's authorities vouch for them.
//!
//! * [`authorities`]: the directory of authorities, read again when it changes.
//! * [`path`]: from a client's certificate, over its proxies, to an authority.
//! * [`proxy`]: what makes a certificate a proxy, and what a proxy may be (RFC 3820).
//! * [`namespace`]: which names an authority may certify; [`signing_policy`], [`namespaces`]: the two ways in which
//!   that is written.
//! * [`revocation`]: what authorities have taken back. [`constraint`]: RFC 5280's own limits on names.
//! * [`voms`]: groups and roles that a VO's server has written into a proxy.
//! * [`facts`], [`name`], [`signature`]: what stands in a certificate.
//!
//! Nothing here reads a file or the clock for a client: files are read in the background, the time is given.
#![forbid(unsafe_code)]

pub mod authorities;
pub mod constraint;
pub mod error;
pub mod facts;
pub mod name;
pub mod namespace;
pub mod namespaces;
pub mod path;
pub mod proxy;
pub mod revocation;
pub mod signature;
pub mod signing_policy;
pub mod voms;

#[cfg(test)]
mod tests;

pub use authorities::{Authorities, Stock};
pub use error::CertificateError;
