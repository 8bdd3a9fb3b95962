//! An open TCP socket and its options.
#![allow(unsafe_code)]

use std::cell::OnceCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::connect::ConnectOptions;
use super::flow_label;

/// What `TCP_INFO` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpFacts {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Segments sent again, in all.
    pub retransmits: u64,
    /// The kernel's estimate, in bytes per second.
    pub delivery_rate: u64,
    /// Bytes that the other side has acknowledged.
    pub bytes_acknowledged: u64,
    /// Congestion window in segments.
    pub congestion_window: u32,
    /// Bytes that came in, in order.
    pub bytes_received: u64,
    /// Bytes that were handed to the kernel and went out, or wait to; those sent again count once.
    pub bytes_given: u64,
    /// How much round trips differ.
    pub rtt_variance: Duration,
    /// The shortest round trip of late.
    pub least_rtt: Duration,
}

/// An open socket: something the ring can name by number. Dropping the last handle closes it.
pub trait SocketHandle {
    /// The number by which ring operations name it.
    fn raw(&self) -> i32;
    /// The other side.
    fn peer(&self) -> SocketAddr;
    /// This side.
    fn local(&self) -> SocketAddr;
    /// See [`TcpFacts`]; `None` where the kernel does not tell.
    fn tcp_facts(&self) -> Option<TcpFacts>;
    /// SO_MAX_PACING_RATE.
    fn limit_send_rate(&self, bytes_per_second: u64) -> io::Result<()>;
    /// Half close.
    fn shutdown_send(&self);
    /// The IPv6 flow label that its packets carry; 0: none that we know of.
    fn flow_label(&self) -> u32 {
        0
    }
    /// Takes a lease of that label, before it is connected; see [`flow_label::lease`].
    fn lease_label(&self) -> io::Result<()> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }
    /// What the socket has failed with since it was last asked (SO_ERROR).
    fn take_error(&self) -> io::Result<Option<io::Error>>;
}

/// A socket of the kernel.
pub struct KernelSocket {
    descriptor: OwnedFd,
    peer: SocketAddr,
    /// Known once it is connected, and asked for then.
    local: OnceCell<SocketAddr>,
    flow_label: u32,
}

impl KernelSocket {
    /// Takes a connected socket over: no Nagle delays, as heads and tails of transfers are sent on their own.
    pub fn new(descriptor: OwnedFd) -> io::Result<KernelSocket> {
        let peer = {
            let socket = SockRef::from(&descriptor);
            socket.set_tcp_nodelay(true)?;
            socket.peer_addr()?.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?
        };
        let socket = KernelSocket { descriptor, peer: plain(peer), local: OnceCell::new(), flow_label: 0 };
        // A connection that is gone already is found here, not in the middle of its first answer.
        let local = socket.ask_local()?;
        let _ = socket.local.set(local);
        Ok(socket)
    }

    /// The same, knowing what its packets carry: only IPv6 has labels.
    #[must_use]
    pub fn carrying(self, label: u32) -> KernelSocket {
        KernelSocket { flow_label: if self.peer.is_ipv6() { label } else { 0 }, ..self }
    }

    /// A socket that is to be connected to `peer`.
    pub(in crate::engine) fn unconnected(
        peer: SocketAddr,
        options: &ConnectOptions,
    ) -> io::Result<KernelSocket> {
        let socket = Socket::new(Domain::for_address(peer), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = options.source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        if options.label_of(peer) != 0 {
            flow_label::take_from_address(socket.as_fd())?;
        }
        let socket = KernelSocket {
            descriptor: socket.into(),
            peer: plain(peer),
            local: OnceCell::new(),
            flow_label: 0,
        };
        Ok(socket.carrying(options.label_of(peer)))
    }

    fn ask_local(&self) -> io::Result<SocketAddr> {
        let local = SockRef::from(&self.descriptor).local_addr()?.as_socket();
        local.map(plain).ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
    }
}

/// An IPv4 client of an IPv6 listener is shown with its IPv4 address.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

impl SocketHandle for KernelSocket {
    fn raw(&self) -> i32 {
        self.descriptor.as_raw_fd()
    }

    fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn local(&self) -> SocketAddr {
        self.local.get().copied().unwrap_or_else(|| match self.ask_local() {
            Ok(local) => *self.local.get_or_init(|| local),
            Err(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        })
    }

    fn tcp_facts(&self) -> Option<TcpFacts> {
        // SAFETY: tcp_info is plain integers, for which zero is a value.
        let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
        let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
        // SAFETY: the pointers are to `info` and to its size, which the kernel does not exceed.
        let result = unsafe {
            libc::getsockopt(
                self.descriptor.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                (&raw mut info).cast(),
                &raw mut length,
            )
        };
        (result == 0).then(|| TcpFacts {
            rtt: Duration::from_micros(info.tcpi_rtt.into()),
            retransmits: info.tcpi_total_retrans.into(),
            delivery_rate: info.tcpi_delivery_rate,
            bytes_acknowledged: info.tcpi_bytes_acked,
            congestion_window: info.tcpi_snd_cwnd,
            bytes_received: info.tcpi_bytes_received,
            bytes_given: (info.tcpi_bytes_sent.saturating_sub(info.tcpi_bytes_retrans))
                .saturating_add(info.tcpi_notsent_bytes.into()),
            rtt_variance: Duration::from_micros(info.tcpi_rttvar.into()),
            least_rtt: Duration::from_micros(info.tcpi_min_rtt.into()),
        })
    }

    fn limit_send_rate(&self, bytes_per_second: u64) -> io::Result<()> {
        // Kernels since 4.20 take 64 bits.
        // SAFETY: the pointer is to a u64 of the given length.
        let result = unsafe {
            libc::setsockopt(
                self.descriptor.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_MAX_PACING_RATE,
                (&raw const bytes_per_second).cast(),
                size_of::<u64>() as libc::socklen_t,
            )
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn shutdown_send(&self) {
        // ENOTCONN: the other side was faster.
        let _ = SockRef::from(&self.descriptor).shutdown(Shutdown::Write);
    }

    fn flow_label(&self) -> u32 {
        self.flow_label
    }

    fn lease_label(&self) -> io::Result<()> {
        match self.peer.ip() {
            IpAddr::V6(peer) => flow_label::lease(self.descriptor.as_fd(), peer, self.flow_label),
            IpAddr::V4(_) => Err(io::Error::from(io::ErrorKind::InvalidInput)),
        }
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        SockRef::from(&self.descriptor).take_error()
    }
}
