//! Where clients come to: sockets of the service manager, or the door's own.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::StartError;
use crate::config::Config;

/// Listeners that somebody has opened for a door and that do not block. Where there is none of a kind, the door opens
/// its own, if it is configured.
#[derive(Debug, Default)]
pub struct Sockets {
    /// For plain HTTP.
    pub plain: Vec<std::net::TcpListener>,
    /// For https.
    pub secure: Vec<std::net::TcpListener>,
}

/// The sockets that were handed over or, without any, one of the door's own.
pub(super) async fn listen(
    handed_over: Vec<std::net::TcpListener>,
    own: Option<SocketAddr>,
) -> Result<Vec<TcpListener>, StartError> {
    let shown = own.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
    let listen_error = |source| StartError::Listen { address: shown, source };
    if !handed_over.is_empty() {
        let listeners = handed_over.into_iter().map(TcpListener::from_std);
        return listeners.collect::<Result<_, _>>().map_err(listen_error);
    }
    match own {
        Some(address) => Ok(vec![TcpListener::bind(address).await.map_err(listen_error)?]),
        None => Ok(Vec::new()),
    }
}

/// Where pools send lost clients. Nothing, when clients would not get anywhere with it.
pub(super) fn public_url(config: &Config, plain: Option<SocketAddr>, tls: Option<SocketAddr>) -> String {
    let addresses = [("http", plain), ("https", tls)];
    let first = addresses.into_iter().find_map(|(scheme, address)| Some((scheme, address?)));
    match (&config.url, first) {
        (Some(url), _) => url.as_str().to_owned(),
        (None, Some((scheme, address))) if !address.ip().is_unspecified() => format!("{scheme}://{address}"),
        (None, _) => String::new(),
    }
}
