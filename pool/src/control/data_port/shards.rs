//! The running data port: the shards, and what is asked of them.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::metrics::engine::{self, Gauges};
use super::{DataPort, EngineLoad};
use crate::engine::net::listener::{self, Listener};
use crate::engine::shard::Shard;
use crate::marking::ports::Opening;
use crate::marking::{Mark, PortBook};
use crate::tls::{ClientTls, ServerTls};
use crate::transfer::port::accept_labelled;
use crate::transfer::third_party::ThirdParty;
use crate::transfer::{Failure, Transfer};

/// The shards, running.
pub(super) struct Shards {
    pub(super) address: SocketAddr,
    pub(super) secure: Option<(SocketAddr, Arc<ServerTls>)>,
    pub(super) gauges: Vec<Arc<Gauges>>,
    pub(super) running: Mutex<Vec<Shard>>,
    pub(super) third_party: Arc<ThirdParty>,
    pub(super) authorities: Option<Arc<ClientTls>>,
    /// Third-party copies go to the shards in turn.
    pub(super) next_shard: AtomicUsize,
    /// Ports whose connections carry flow labels.
    pub(super) labelled: PortBook,
}

impl Shards {
    /// Binds a listener with the label for each shard, and lets them accept.
    fn open_labelled(&self, opening: &Opening<'_>, secure: bool) -> io::Result<u16> {
        let (at, tls) = match &self.secure {
            Some((address, tls)) if secure => (address.ip(), Some(tls)),
            _ => (self.address.ip(), None),
        };
        let address = SocketAddr::new(at, opening.port);
        // As for the data port itself: the kernel would let another pool of this user share it. Nobody shares a port
        // that the kernel chooses.
        if opening.port != 0 {
            drop(std::net::TcpListener::bind(address)?);
        }
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let label = opening.label.bits();
        let mut bound = address;
        for shard in running.iter() {
            let descriptor = listener::bind_labelled(bound, label)?;
            bound = listener::address(&descriptor)?;
            let (port, tls) = (Arc::clone(&self.third_party.port), tls.cloned());
            let (gate, listening) = (Arc::clone(opening.gate), opening.gate.listener());
            shard.submit(move |core| {
                let listener = Listener::labelled(Rc::clone(&core), descriptor, label);
                accept_labelled(core, port, listener, tls, gate, listening)
            })?;
        }
        match running.is_empty() {
            true => Err(io::Error::other("the pool is stopping")),
            false => Ok(bound.port()),
        }
    }
}

impl fmt::Debug for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards").field("address", &self.address).finish_non_exhaustive()
    }
}

impl DataPort for Shards {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn secure_address(&self) -> Option<SocketAddr> {
        self.secure.as_ref().map(|(address, _)| *address)
    }

    fn tls(&self) -> Option<&Arc<ServerTls>> {
        self.secure.as_ref().map(|(_, tls)| tls)
    }

    fn authorities(&self) -> Option<&Arc<ClientTls>> {
        self.authorities.as_ref()
    }

    fn load(&self) -> EngineLoad {
        engine::load(&self.gauges)
    }

    fn labelled_port(&self, mark: &Mark, secure: bool) -> Option<u16> {
        let at = if secure { self.secure_address()? } else { self.address };
        if !at.is_ipv6() {
            return None;
        }
        let open = |opening: Opening<'_>| self.open_labelled(&opening, secure);
        self.labelled.port_for(mark.tag(), secure, Instant::now(), open)
    }

    fn silent_shard(&self, limit: Duration) -> Option<usize> {
        self.gauges.iter().position(|gauges| gauges.turned.silent_for(limit))
    }

    fn limit_connections(&self, limit: usize) {
        self.third_party.port.settings.connections_limit.store(limit, Ordering::Relaxed);
    }

    fn launch(&self, transfer: &Arc<Transfer>) {
        // `None`: it has ended meanwhile.
        let Some(claim) = transfer.claim_for_pool() else { return };
        let third_party = Arc::clone(&self.third_party);
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.next_shard.fetch_add(1, Ordering::Relaxed) % running.len().max(1);
        let submitted = match running.get(number) {
            Some(shard) => shard.submit(move |core| third_party.run(core, claim)),
            None => Err(io::Error::other("the pool is stopping")),
        };
        drop(running);
        if let Err(error) = submitted {
            transfer.abort(Failure::shutdown(format!("the copy cannot begin: {error}")));
        }
    }

    fn stop(&self) {
        let shards = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        // All are asked before any is waited for; dropping one waits for its thread.
        shards.iter().for_each(Shard::stop);
    }
}
