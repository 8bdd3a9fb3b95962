//! https: a listener whose clients begin with a TLS handshake.
//!
//! * [`port`]: what such a listener needs: certificate and key, whom it believes, how many handshakes at once.
//! * [`stream`]: one client's connection, over a socket that several may look at.
//! * [`client`]: certificates of clients within the handshake. [`pool`]: the other way, to the data ports of pools.
//!
//! The handshake proves that a client holds the key of the certificate that it shows. Whether the certificate is any
//! good is told afterwards ([`crate::auth::certificate`]), so that the answer can say what is wrong with it.
#![forbid(unsafe_code)]

pub mod client;
pub mod pool;
pub mod port;
pub mod stream;

pub use pool::DataPorts;
pub use port::{SecurePort, Shown};
pub use stream::TlsStream;
