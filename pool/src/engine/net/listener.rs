//! Listeners: each shard has its own on the same port (SO_REUSEPORT), and the kernel spreads the connections.
#![allow(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::rc::Rc;

use socket2::{Domain, Protocol, Socket, Type};

use super::socket::KernelSocket;
use super::{Connection, flow_label};
use crate::engine::core::Core;
use crate::engine::op::Late;
use crate::engine::ring::Op;

/// Connections that the kernel completes before they are accepted.
const BACKLOG: i32 = 4096;

/// Binds a listener of the data port. Several may be bound to one address.
pub fn bind(address: SocketAddr) -> io::Result<OwnedFd> {
    listen(open(address)?, address)
}

/// The same, of IPv6, for one whose connections carry a flow label; see [`flow_label`].
pub fn bind_labelled(address: SocketAddr, label: u32) -> io::Result<OwnedFd> {
    let socket = open(address)?;
    flow_label::label_listener(&socket, label)?;
    listen(socket, address)
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))
}

fn listen(socket: Socket, address: SocketAddr) -> io::Result<OwnedFd> {
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // "[::]" means every address, IPv4 ones too.
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The address that a listener is bound to.
pub fn address(listener: &OwnedFd) -> io::Result<SocketAddr> {
    socket2::SockRef::from(listener)
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
}

/// A listener on its shard.
pub struct Listener {
    core: Rc<Core>,
    descriptor: Rc<OwnedFd>,
    /// What its connections carry; 0: nothing.
    label: u32,
}

impl Listener {
    /// Takes a bound listener over.
    pub fn new(core: Rc<Core>, descriptor: OwnedFd) -> Listener {
        Listener::labelled(core, descriptor, 0)
    }

    /// The same for one of [`bind_labelled`].
    pub fn labelled(core: Rc<Core>, descriptor: OwnedFd, label: u32) -> Listener {
        Listener { core, descriptor: Rc::new(descriptor), label }
    }

    /// The next connection.
    pub async fn accept(&self) -> io::Result<Connection> {
        let op = Op::Accept { listener: self.descriptor.as_raw_fd() };
        // SAFETY: the listener belongs to the operation; a connection that comes too late is closed.
        let operation = unsafe { self.core.start(op, Rc::clone(&self.descriptor), Late::Close) };
        let descriptor = operation.await.0?;
        // SAFETY: the kernel just gave us this descriptor.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor as i32) };
        let socket = KernelSocket::new(descriptor)?.carrying(self.label);
        Ok(Connection::new(Rc::clone(&self.core), Rc::new(socket)))
    }
}
