//! Makes a connection to a server: the first of its addresses that answers (RFC 8305, "happy eyeballs"), with TLS
//! where the URL says so.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use rustls::pki_types::ServerName;

use super::Remotes;
use super::error::{RemoteError, plain};
use super::url::Origin;
use crate::engine::core::Core;
use crate::engine::net::Connection;
use crate::engine::net::connect::ConnectOptions;
use crate::marking::Mark;
use crate::tls::{Credential, HandshakeError, Wire};

/// An address has so much of a start before the next one is tried beside it (RFC 8305 §5).
const HEAD_START: Duration = Duration::from_millis(250);

/// A connection to one of the server's addresses that the rules allow, within the connect timeout.
/// `mark`: what its packets are to carry. `shown`: what servers are shown that ask for a certificate.
pub(super) async fn dial(
    core: &Rc<Core>,
    remotes: &Remotes,
    origin: &Origin,
    mark: Option<&Mark>,
    shown: Option<&Credential>,
) -> Result<Wire, RemoteError> {
    let give_up_at = core.now() + remotes.settings.connect_timeout;
    let connection = connect(core, remotes, origin, mark).await?;
    if !origin.secure {
        return Ok(connection.into());
    }
    let peer = connection.peer();
    let failed = |problem: String| RemoteError::Tls { origin: origin.clone(), peer, problem };
    let Some(tls) = &remotes.tls else {
        return Err(failed("this pool has no certificates of authorities to trust (tpc.ca)".into()));
    };
    let name = ServerName::try_from(origin.bare_host().to_owned())
        .map_err(|_| failed("the host is not a name that a certificate can hold".into()))?;
    let limit = give_up_at.saturating_duration_since(core.now());
    match tls.connect(connection, name, shown, limit).await {
        Ok(stream) => Ok(stream.into()),
        Err(HandshakeError::NotTls) => Err(failed("the server does not speak TLS".into())),
        Err(HandshakeError::Connection(error)) => {
            Err(failed(format!("the connection broke during the handshake: {}", plain(&error))))
        }
        Err(error) => Err(failed(error.to_string())),
    }
}

/// A TCP connection.
async fn connect(
    core: &Rc<Core>,
    remotes: &Remotes,
    origin: &Origin,
    mark: Option<&Mark>,
) -> Result<Connection, RemoteError> {
    let limit = remotes.settings.connect_timeout;
    let give_up_at = core.now() + limit;
    let denied = |denied| RemoteError::Denied { host: origin.host.clone(), denied };
    remotes.settings.rules.check_port(origin.port).map_err(denied)?;
    let addresses = match core.within(limit, remotes.resolver.resolve(origin)).await {
        Some(addresses) => addresses?,
        None => {
            let problem = format!("the name servers did not answer within {} s", limit.as_secs());
            return Err(RemoteError::Resolve { host: origin.host.clone(), problem });
        }
    };
    let (allowed, mut refused): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .map(|address| remotes.settings.rules.check(address).map(|()| address))
        .partition(Result::is_ok);
    let allowed: Vec<SocketAddr> = allowed.into_iter().flatten().collect();
    if allowed.is_empty()
        && let Some(Err(reason)) = refused.pop()
    {
        return Err(denied(reason));
    }
    let mut race = Race { core, mark, waiting: allowed, running: FuturesUnordered::new(), tried: Vec::new() };
    race.waiting.reverse();
    let (begun, won) = (core.now(), race.run(give_up_at).await);
    won.ok_or_else(|| RemoteError::Connect {
        origin: origin.clone(),
        tried: race.tried,
        seconds: (core.now() - begun).as_secs(),
    })
}

/// Attempts beside each other.
struct Race<'a, A> {
    core: &'a Rc<Core>,
    mark: Option<&'a Mark>,
    /// Not tried yet, the next one last.
    waiting: Vec<SocketAddr>,
    running: FuturesUnordered<A>,
    tried: Vec<(SocketAddr, String)>,
}

type Attempt<'a> = futures_util::future::LocalBoxFuture<'a, (SocketAddr, io::Result<Connection>)>;

impl<'a> Race<'a, Attempt<'a>> {
    async fn run(&mut self, give_up_at: std::time::Instant) -> Option<Connection> {
        loop {
            if let Some(address) = self.waiting.pop() {
                self.tried.push((address, "Connection timed out".to_owned()));
                let flow_label = self.mark.map_or(0, |mark| mark.label_towards(address));
                let (core, options) = (self.core, ConnectOptions { flow_label, ..Default::default() });
                self.running.push(Box::pin(async move {
                    (address, Connection::connect(core, address, &options).await)
                }));
            } else if self.running.is_empty() {
                return None;
            }
            let mut wait_until = give_up_at;
            if !self.waiting.is_empty() {
                wait_until = wait_until.min(self.core.now() + HEAD_START);
            }
            match select(self.running.next(), self.core.sleep_until(wait_until)).await {
                Either::Left((Some((_, Ok(connection))), _)) => return Some(connection),
                Either::Left((Some((address, Err(error))), _)) => {
                    if let Some(tried) = self.tried.iter_mut().find(|(tried, _)| *tried == address) {
                        tried.1 = plain(&error);
                    }
                }
                Either::Left((None, _)) => {}
                Either::Right(_) if self.core.now() >= give_up_at => return None,
                Either::Right(_) => {}
            }
        }
    }
}
