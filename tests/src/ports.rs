//! Free ports for daemons whose configuration must name them beforehand.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// So many loopback addresses with ports that nobody listens on, all different.
///
/// Another program may take one before it is used; the kernel hands them out in turn, so that this is rare.
#[must_use]
pub fn free<const COUNT: usize>() -> [SocketAddr; COUNT] {
    let held = [(); COUNT].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
    held.map(|listener| listener.local_addr().expect("a bound listener has an address"))
}
