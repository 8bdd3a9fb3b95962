//! IPv6 flow labels of TCP sockets: set before a connection is made, and read of the other side's packets.
//!
//! Two ways, neither of which needs a privilege:
//!
//! * **A connection that is made** takes its label from the address that it is made to (`sin6_flowinfo`), once the
//!   socket was told to look there. Its SYN carries it already.
//! * **A connection that is accepted** cannot be given one any more. But the kernel copies the label of the listener
//!   into it, and the label of a socket that is to listen is set by a connect that fails on purpose. The kernel
//!   promises nothing of the kind, so `marking::probe` looks whether it does.
#![allow(unsafe_code)]

use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// The bits of `sin6_flowinfo` that are the label.
pub const LABEL_MASK: u32 = 0xF_FFFF;

// linux/in6.h
const IPV6_FLOWINFO: libc::c_int = 11;
const IPV6_FLOWLABEL_MGR: libc::c_int = 32;
const IPV6_FLOWINFO_SEND: libc::c_int = 33;
const IPV6_FL_A_GET: u8 = 0;
const IPV6_FL_S_ANY: u8 = 255;
const IPV6_FL_F_CREATE: u16 = 1;
const IPV6_FL_F_REMOTE: u16 = 8;

/// Where the connect that labels a listener goes: an IPv4 address, which a socket for IPv6 only cannot reach. The
/// kernel finds that out after it has taken the label over, and before it has sent anything.
const NOWHERE: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0xFFFF, 0x7F00, 1);
/// And its port: any but 0, which other checks could stumble over.
const NOWHERE_PORT: u16 = 9;

/// `struct in6_flowlabel_req` of linux/in6.h.
#[repr(C)]
#[derive(Default)]
struct LabelRequest {
    destination: [u8; 16],
    /// In network byte order.
    label: u32,
    action: u8,
    share: u8,
    flags: u16,
    expires_seconds: u16,
    linger_seconds: u16,
    padding: u32,
    // Options may follow; there are none.
}

const _: () = assert!(size_of::<LabelRequest>() == 32);

/// The address of a peer with a label; an IPv4 one, or one without a label, as it is.
pub fn with_label(peer: SocketAddr, label: u32) -> SocketAddr {
    match peer {
        SocketAddr::V6(peer) if peer.ip().to_ipv4_mapped().is_none() && label != 0 => {
            // The kernel's field is in network byte order, and std hands it on as it is.
            let flowinfo = (label & LABEL_MASK).to_be();
            SocketAddrV6::new(*peer.ip(), peer.port(), flowinfo, peer.scope_id()).into()
        }
        peer => peer,
    }
}

/// Lets a socket that is not connected take the label from the address that it will be connected to.
pub fn take_from_address(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_number(socket, IPV6_FLOWINFO_SEND, 1)
}

/// Lets a socket remember the label of what came last, for [`of_peer`]; else it remembers that of the SYN.
pub fn remember_of_peer(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_number(socket, IPV6_FLOWINFO, 1)
}

/// Takes a lease of a label, shared with anybody. It is needed where somebody in this network namespace has an exclusive
/// one of any label: then labels without a lease are refused (EINVAL). It ends with the socket.
pub fn lease(socket: BorrowedFd<'_>, peer: Ipv6Addr, label: u32) -> io::Result<()> {
    let request = LabelRequest {
        destination: peer.octets(),
        label: (label & LABEL_MASK).to_be(),
        action: IPV6_FL_A_GET,
        share: IPV6_FL_S_ANY,
        flags: IPV6_FL_F_CREATE,
        ..LabelRequest::default()
    };
    // SAFETY: the pointer is to a live structure of the kernel's layout and of the given length, which it only reads.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            IPV6_FLOWLABEL_MGR,
            (&raw const request).cast(),
            size_of::<LabelRequest>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The label that the other side's packets carry, be it one of the kernel's own choice; 0: none. See [`remember_of_peer`].
pub fn of_peer(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut request = LabelRequest { flags: IPV6_FL_F_REMOTE, ..LabelRequest::default() };
    let mut length = size_of::<LabelRequest>() as libc::socklen_t;
    // SAFETY: the pointers are to a live structure of the kernel's layout and to its size, which the kernel does not
    // exceed.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            IPV6_FLOWLABEL_MGR,
            (&raw mut request).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(u32::from_be(request.label) & LABEL_MASK) } else { Err(io::Error::last_os_error()) }
}

/// Gives a socket that is neither bound nor connected the label that the connections it accepts will carry.
pub fn label_listener(socket: &Socket, label: u32) -> io::Result<()> {
    take_from_address(socket.as_fd())?;
    socket.set_only_v6(true)?;
    let flowinfo = (label & LABEL_MASK).to_be();
    let nowhere = SockAddr::from(SocketAddrV6::new(NOWHERE, NOWHERE_PORT, flowinfo, 0));
    let mut refused = socket.connect(&nowhere);
    if refused.as_ref().is_err_and(needs_lease) {
        lease(socket.as_fd(), Ipv6Addr::UNSPECIFIED, label)?;
        refused = socket.connect(&nowhere);
    }
    match refused {
        Err(error) if error.raw_os_error() == Some(libc::ENETUNREACH) => {
            // Later calls that name an address must not change it again.
            set_number(socket.as_fd(), IPV6_FLOWINFO_SEND, 0)
        }
        Err(error) => Err(error),
        Ok(()) => {
            Err(io::Error::other("a connection came about that must fail: this kernel labels no listeners"))
        }
    }
}

/// Makes a connection with a label, and waits for it. 0: without one.
pub fn connect(peer: SocketAddr, label: u32, limit: Duration) -> io::Result<TcpStream> {
    let open = || Socket::new(Domain::for_address(peer), Type::STREAM, Some(Protocol::TCP));
    let labelled = with_label(peer, label);
    let mut socket = open()?;
    if labelled != peer {
        take_from_address(socket.as_fd())?;
    }
    let mut connected = socket.connect_timeout(&labelled.into(), limit);
    if let (Err(error), SocketAddr::V6(six)) = (&connected, labelled)
        && needs_lease(error)
        && six.flowinfo() != 0
    {
        socket = open()?;
        take_from_address(socket.as_fd())?;
        lease(socket.as_fd(), *six.ip(), label)?;
        connected = socket.connect_timeout(&labelled.into(), limit);
    }
    connected.map(|()| socket.into())
}

/// The kernel wants a lease for the label (or the address makes no sense, which stays so with one).
pub fn needs_lease(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINVAL)
}

fn set_number(socket: BorrowedFd<'_>, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the pointer is to a c_int of the given length, which the kernel only reads.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);
    const LABEL: u32 = 0x3_1055;

    /// A listener on this machine's IPv6; `None`, with a word, where there is none.
    fn listener() -> Option<TcpListener> {
        match TcpListener::bind("[::1]:0") {
            Ok(listener) => Some(listener),
            Err(error) => {
                println!("skipped: no IPv6 here: {error}");
                None
            }
        }
    }

    #[test]
    fn the_other_side_of_a_labelled_connection_sees_the_label() {
        let Some(listener) = listener() else { return };
        let _client = connect(listener.local_addr().unwrap(), LABEL, LIMIT).unwrap();
        let (server, _) = listener.accept().unwrap();
        assert_eq!(of_peer(server.as_fd()).unwrap(), LABEL);
        // Without one, the kernel may choose any by itself (net.ipv6.auto_flowlabels).
        let _client = connect(listener.local_addr().unwrap(), 0, LIMIT).unwrap();
        let (server, _) = listener.accept().unwrap();
        assert_ne!(of_peer(server.as_fd()).unwrap(), LABEL);
    }

    #[test]
    fn what_a_labelled_listener_accepts_carries_its_label() {
        if listener().is_none() {
            return;
        }
        let address = "[::1]:0".parse().unwrap();
        let labelled = crate::engine::net::listener::bind_labelled(address, LABEL).unwrap();
        let listener = TcpListener::from(labelled);
        listener.set_nonblocking(false).unwrap();
        let mut client = connect(listener.local_addr().unwrap(), 0, LIMIT).unwrap();
        remember_of_peer(client.as_fd()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        for _ in 0..3 {
            server.write_all(b"x").unwrap();
            client.read_exact(&mut [0]).unwrap();
            assert_eq!(of_peer(client.as_fd()).unwrap(), LABEL);
        }
    }

    #[test]
    fn a_labelled_listener_takes_ipv4_clients_as_well() {
        if listener().is_none() {
            return;
        }
        let address = "[::]:0".parse().unwrap();
        let listener =
            TcpListener::from(crate::engine::net::listener::bind_labelled(address, LABEL).unwrap());
        listener.set_nonblocking(false).unwrap();
        let port = listener.local_addr().unwrap().port();
        let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert!(listener.accept().is_ok());
    }

    #[test]
    fn a_lease_is_had_without_a_privilege() {
        let Some(listener) = listener() else { return };
        let address = listener.local_addr().unwrap();
        let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP)).unwrap();
        lease(socket.as_fd(), Ipv6Addr::LOCALHOST, LABEL).unwrap();
        take_from_address(socket.as_fd()).unwrap();
        socket.connect(&with_label(address, LABEL).into()).unwrap();
        let (server, _) = listener.accept().unwrap();
        assert_eq!(of_peer(server.as_fd()).unwrap(), LABEL);
    }

    #[test]
    fn addresses_of_ipv4_have_no_label() {
        for peer in ["192.0.2.1:80", "[::ffff:192.0.2.1]:80"] {
            let peer: SocketAddr = peer.parse().unwrap();
            assert_eq!(with_label(peer, LABEL), peer);
        }
    }
}
