//! Making connections, for transfers in which the pool is the client.
#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use socket2::SockAddr;

use super::socket::SocketHandle;
use super::{Connection, flow_label};
use crate::engine::core::Core;
use crate::engine::op::Late;
use crate::engine::ring::{Memory, Op};

/// How a connection is to be made.
#[derive(Debug, Clone, Default)]
pub struct ConnectOptions {
    /// The address of this machine that the other side is to see; `None`: as the routes have it.
    pub source: Option<IpAddr>,
    /// The IPv6 flow label of its packets; 0: none. IPv4 has none.
    pub flow_label: u32,
}

impl ConnectOptions {
    /// The label of a connection to `peer`.
    #[must_use]
    pub(in crate::engine) fn label_of(&self, peer: SocketAddr) -> u32 {
        if flow_label::with_label(peer, self.flow_label) == peer { 0 } else { self.flow_label }
    }
}

/// A peer's address as the kernel takes it, at an address in memory that does not change.
pub(in crate::engine) struct Peer(Box<SockAddr>);

impl Peer {
    fn memory(&self) -> Memory {
        Memory { pointer: self.0.as_ptr().cast_mut().cast(), length: self.0.len(), registered: false }
    }

    /// The address behind [`Peer::memory`].
    ///
    /// # Safety
    /// `memory` is that of a living `Peer`.
    pub(in crate::engine) unsafe fn read(memory: Memory) -> io::Result<SocketAddr> {
        // SAFETY: the storage is filled with `length` bytes of the peer's address, which is no longer than it; both
        // are plain bytes apart from each other.
        let read = unsafe {
            SockAddr::try_init(|storage, length| {
                std::ptr::copy_nonoverlapping(memory.pointer, storage.cast(), memory.length as usize);
                *length = memory.length;
                Ok(())
            })
        };
        read?.1.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
    }
}

impl Connection {
    /// Makes a connection. It waits as long as the kernel tries (minutes): bound it with [`Core::within`], which may
    /// drop this future at any time.
    pub async fn connect(
        core: &Rc<Core>,
        peer: SocketAddr,
        options: &ConnectOptions,
    ) -> io::Result<Connection> {
        let socket = core.open_socket(peer, options)?;
        let labelled = flow_label::with_label(peer, options.flow_label);
        let mut connected = attempt(core, &socket, labelled).await;
        if connected.as_ref().is_err_and(flow_label::needs_lease) && socket.flow_label() != 0 {
            socket.lease_label()?;
            connected = attempt(core, &socket, labelled).await;
        }
        let connection = Connection::new(Rc::clone(core), socket);
        match connected {
            Ok(_) => Ok(connection),
            // A ring that leaves the waiting to the caller, as connect(2) does for sockets that do not block.
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
                connection.writable().await?;
                match connection.socket.take_error()? {
                    Some(error) => Err(error),
                    None => Ok(connection),
                }
            }
            Err(error) => Err(error),
        }
    }
}

/// One attempt to connect a socket.
async fn attempt(core: &Rc<Core>, socket: &Rc<dyn SocketHandle>, peer: SocketAddr) -> io::Result<u32> {
    let address = Peer(Box::new(peer.into()));
    let op = Op::Connect { socket: socket.raw(), address: address.memory() };
    // SAFETY: socket and address belong to the operation.
    let operation = unsafe { core.start(op, (address, Rc::clone(socket)), Late::Ignore) };
    operation.await.0
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::engine::blocking::Blocking;
    use crate::engine::net::Received;
    use crate::engine::shard::Shard;
    use crate::engine::sim::disk::{SimDisk, SimDiskConfig};
    use crate::engine::sim::ring::RingFaults;
    use crate::engine::sim::world::World;

    /// Runs a task on a shard of its own and gives what it gives.
    fn on_a_shard<T: Send + 'static, F: Future<Output = T> + 'static>(
        task: impl FnOnce(Rc<Core>) -> F + Send + 'static,
    ) -> T {
        let shard = Shard::start(0, 4, Blocking::new(2)).expect("io_uring is needed for the tests");
        let (sender, receiver) = std::sync::mpsc::channel();
        shard.submit(move |core| async move { sender.send(task(core).await).unwrap() }).unwrap();
        receiver.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    #[test]
    fn a_connection_is_made_and_carries_bytes_both_ways() {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, client) = listener.accept().unwrap();
            let mut question = [0; 4];
            stream.read_exact(&mut question).unwrap();
            stream.write_all(b"pong").unwrap();
            (question, client)
        });
        let (answer, peer, local) = on_a_shard(move |core| async move {
            let options = ConnectOptions { source: Some("127.0.0.9".parse().unwrap()), ..Default::default() };
            let connection = Connection::connect(&core, address, &options).await.unwrap();
            let patience = Duration::from_secs(10);
            connection.send_all(b"ping".to_vec(), false, patience).await.0.unwrap();
            let (received, buffer) = connection.receive_within(vec![0; 4], 0..4, true, patience).await;
            assert_eq!(received.unwrap(), Received::Bytes(4));
            (buffer, connection.peer(), connection.local())
        });
        let (question, client) = server.join().unwrap();
        assert_eq!((&answer[..], &question[..]), (&b"pong"[..], &b"ping"[..]));
        assert_eq!((peer, local), (address, client));
        assert_eq!(local.ip(), "127.0.0.9".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn the_other_side_sees_the_label_of_a_connection_over_ipv6_and_none_over_ipv4() {
        use std::os::fd::AsFd;
        for (listen, seen) in [("[::1]:0", 0x2_0004), ("127.0.0.1:0", 0)] {
            let Ok(listener) = std::net::TcpListener::bind(listen) else {
                println!("skipped: no IPv6 here");
                continue;
            };
            let address = listener.local_addr().unwrap();
            let own = on_a_shard(move |core| async move {
                let options = ConnectOptions { flow_label: 0x2_0004, ..Default::default() };
                Connection::connect(&core, address, &options).await.unwrap().flow_label()
            });
            assert_eq!(own, seen);
            let (server, _) = listener.accept().unwrap();
            if seen != 0 {
                assert_eq!(flow_label::of_peer(server.as_fd()).unwrap(), seen);
            }
        }
    }

    #[test]
    fn a_port_that_nobody_listens_on_refuses() {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = on_a_shard(move |core| async move {
            Connection::connect(&core, address, &ConnectOptions::default()).await.err().unwrap()
        });
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn waiting_for_a_peer_that_does_not_answer_can_be_given_up() {
        // A backlog that is full drops what else comes, as a host that is down does.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket2::SockRef::from(&listener).listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let _fill: Vec<_> = (0..4)
            .map(|_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)))
            .collect();
        let started_at = Instant::now();
        let left = on_a_shard(move |core| async move {
            let options = ConnectOptions::default();
            let connecting = Connection::connect(&core, address, &options);
            assert!(core.within(Duration::from_millis(50), connecting).await.is_none());
            core.sleep(Duration::from_millis(50)).await;
            core.operations_in_flight()
        });
        assert_eq!(left, 0, "the operation has ended");
        assert!(started_at.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn the_simulated_network_connects_whom_it_listens_for() {
        let disk = SimDisk::new(SimDiskConfig::default());
        let mut world = World::new(7, RingFaults::default(), disk, 1).unwrap();
        let address: SocketAddr = "192.0.2.7:443".parse().unwrap();
        world.net().listen(address, 100);
        let (core, net) = (Rc::clone(world.core()), world.net().clone());
        world.spawn(async move {
            let options = ConnectOptions::default();
            let nowhere = "192.0.2.8:443".parse().unwrap();
            let error = Connection::connect(&core, nowhere, &options).await.err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            let client = Connection::connect(&core, address, &options).await.unwrap();
            let server = Connection::new(Rc::clone(&core), net.accept(address).unwrap());
            let patience = Duration::from_secs(1);
            client.send_all(b"hello".to_vec(), false, patience).await.0.unwrap();
            let (received, buffer) = server.receive_within(vec![0; 5], 0..5, true, patience).await;
            assert_eq!(received.unwrap(), Received::Bytes(5));
            assert_eq!(buffer, b"hello");
            assert_eq!(client.peer(), address);
        });
        assert!(world.run(10_000));
        assert_eq!((world.panicked(), world.net().open()), (0, 0));
    }
}
