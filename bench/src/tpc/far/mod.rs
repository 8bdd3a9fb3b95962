//! The other side of the copies: an HTTP/1.1 server whose files are made up, and which checks what it gets.
//!
//! ```text
//! content  the bytes, and their checksums
//! request  heads
//! wire     connections, with TLS or without
//! answer   one connection: HEAD, GET with ranges, PUT, DELETE
//! ```
//!
//! A thread for each connection: there are as many as the pool makes, which is a few hundred at most.

mod answer;
mod content;
mod request;
mod wire;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use content::Content;
use rustls::ServerConfig;
use wire::Wire;

use super::case::Scheme;

/// Connections at once; further ones are closed.
const MOST_CONNECTIONS: usize = 1024;
/// How often a connection that waits looks whether the server has ended.
const LOOK: Duration = Duration::from_millis(500);
/// A pool that takes nothing for so long has gone.
const STALL_LIMIT: Duration = Duration::from_secs(60);
/// The stack of a connection's thread; its buffers are elsewhere.
const STACK_BYTES: usize = 256 << 10;

/// What the server's threads share.
struct Shared {
    content: Content,
    /// First part of all paths: whoever does not know it gets nothing.
    secret: String,
    ended: AtomicBool,
    connections: AtomicUsize,
}

impl Shared {
    /// The size of the file that a path names: `/SECRET/SIZE/ANYTHING`.
    fn size_of(&self, target: &str) -> Option<u64> {
        let rest = target.strip_prefix('/')?.strip_prefix(&self.secret)?.strip_prefix('/')?;
        let size = rest.split('/').next()?.parse().ok()?;
        self.content.checksum(size).map(|_| size)
    }
}

/// A running server. Ends when it is dropped.
pub struct Server {
    shared: Arc<Shared>,
    /// Of each scheme.
    ports: Vec<(Scheme, SocketAddr)>,
    host: String,
}

impl Server {
    /// Listens at an address: without TLS on its port, and with TLS, where that is wanted, on one more. `host`: what the
    /// pool calls it.
    pub fn start(
        listen: SocketAddr,
        host: Option<&str>,
        tls: Option<Arc<ServerConfig>>,
        schemes: &[Scheme],
        sizes: &[u64],
    ) -> anyhow::Result<Self> {
        let host = match host {
            Some(host) => host.to_owned(),
            None if listen.ip().is_unspecified() => {
                anyhow::bail!(
                    "--listen {listen} is every address; say with --host which one the pool is to connect to"
                )
            }
            None if listen.is_ipv6() => format!("[{}]", listen.ip()),
            None => listen.ip().to_string(),
        };
        let mut secret = [0; 16];
        // Nobody else is to use the server.
        getrandom::fill(&mut secret).context("the machine has no randomness")?;
        let shared = Arc::new(Shared {
            content: Content::new(sizes),
            secret: secret.iter().map(|byte| format!("{byte:02x}")).collect(),
            ended: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
        });
        let mut server = Self { shared, ports: Vec::new(), host };
        for scheme in schemes {
            // The port that was asked for is the first one's.
            let port = if server.ports.is_empty() { listen.port() } else { 0 };
            let address = SocketAddr::new(listen.ip(), port);
            let failed = || format!("--listen: cannot bind {address}");
            let listener = TcpListener::bind(address).with_context(failed)?;
            server.ports.push((*scheme, listener.local_addr().with_context(failed)?));
            let config = match scheme {
                Scheme::Http => None,
                Scheme::Https => Some(tls.clone().context("https needs --server-cert and --server-key")?),
            };
            let shared = Arc::clone(&server.shared);
            std::thread::Builder::new()
                .name("far side".into())
                .spawn(move || accept(&listener, config.as_ref(), &shared))
                .context("cannot start a thread")?;
        }
        Ok(server)
    }

    /// Where a file of that size is, or may be put.
    pub fn url(&self, scheme: Scheme, size_bytes: u64, name: &str) -> anyhow::Result<String> {
        let found = self.ports.iter().find(|(own, _)| *own == scheme);
        let (_, address) = found.with_context(|| format!("the server does not speak {scheme}"))?;
        Ok(format!("{scheme}://{}:{}/{}/{size_bytes}/{name}", self.host, address.port(), self.shared.secret))
    }

    /// What the pool calls it.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        for (_, address) in &self.ports {
            // Wakes the thread that accepts; should that fail, it ends with the program.
            let _ = TcpStream::connect_timeout(address, LOOK);
        }
    }
}

fn accept(listener: &TcpListener, tls: Option<&Arc<ServerConfig>>, shared: &Arc<Shared>) {
    loop {
        let accepted = listener.accept();
        if shared.ended.load(Ordering::Relaxed) {
            return;
        }
        match accepted {
            Ok((stream, _)) => {
                // What goes wrong with a connection is seen by the pool, which tells it.
                let _ = begin(stream, tls, shared);
            }
            // Too many open files, for a moment.
            Err(_) => std::thread::sleep(LOOK),
        }
    }
}

fn begin(stream: TcpStream, tls: Option<&Arc<ServerConfig>>, shared: &Arc<Shared>) -> io::Result<()> {
    let one_more = |open: usize| (open < MOST_CONNECTIONS).then_some(open + 1);
    if shared.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
        return Ok(());
    }
    let place = Place(Arc::clone(shared));
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LOOK))?;
    stream.set_write_timeout(Some(STALL_LIMIT))?;
    let wire = Wire::new(stream, tls)?;
    let thread = std::thread::Builder::new().name("far side".into()).stack_size(STACK_BYTES);
    thread.spawn(move || {
        // As above.
        let _ = answer::serve(wire, &place.0);
        drop(place);
    })?;
    Ok(())
}

/// A place among the connections, given back when dropped.
struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;
    use crate::http::{Client, Location};
    use crate::terminal::Interrupt;

    const SIZE: u64 = (2 << 20) + 5;

    fn server() -> (Server, Location) {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::start(listen, None, None, &[Scheme::Http], &[SIZE]).unwrap();
        let at = Location::parse(&server.url(Scheme::Http, SIZE, "x").unwrap()).unwrap();
        (server, at)
    }

    #[test]
    fn files_are_read_whole_and_in_parts() {
        let (_server, at) = server();
        let mut client = Client::new(&Interrupt::never());
        assert_eq!(client.get(&at, None).unwrap(), SIZE);
        assert_eq!(client.get(&at, Some(1 << 20..(1 << 20) + 10)).unwrap(), 10);
    }

    #[test]
    fn right_bytes_are_taken_and_wrong_ones_refused() {
        let (server, at) = server();
        let mut client = Client::new(&Interrupt::never());
        let mut right = Vec::new();
        let content = &server.shared.content;
        content.write(&mut right, &mut content.scratch(), 0..SIZE).unwrap();
        client.put(&at, SIZE, &right).unwrap();
        right[1 << 20] ^= 1;
        let error = client.put(&at, SIZE, &right).unwrap_err().to_string();
        assert!(error.contains("answered 400"), "{error}");
    }

    #[test]
    fn strangers_get_nothing() {
        let (server, at) = server();
        let mut client = Client::new(&Interrupt::never());
        for target in ["/".to_owned(), format!("/{SIZE}/x"), format!("/{}/7/x", server.shared.secret)] {
            let elsewhere = Location { authority: at.authority.clone(), target };
            let answer = client.ask(&elsewhere, "GET", "").unwrap();
            assert_eq!(answer.status, 404, "{elsewhere:?}");
        }
        let mut stream = TcpStream::connect(&at.authority).unwrap();
        stream.write_all(b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03").unwrap();
        assert_eq!(stream.read(&mut [0; 8]).unwrap_or(0), 0, "closed without a word");
    }

    #[test]
    fn a_server_at_every_address_has_to_be_told_its_name() {
        let every = SocketAddr::from(([0, 0, 0, 0], 0));
        let error = Server::start(every, None, None, &[Scheme::Http], &[]).err().unwrap();
        assert!(error.to_string().contains("say with --host"), "{error}");
        let named = Server::start(every, Some("here.example.org"), None, &[Scheme::Http], &[1]).unwrap();
        assert!(named.url(Scheme::Http, 1, "x").unwrap().starts_with("http://here.example.org:"));
    }
}
