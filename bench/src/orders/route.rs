//! The address that this host's connections come from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};

use anyhow::Context as _;

/// This host's address on the way to `there`, a `host:port`.
pub fn own_address_towards(there: &str) -> anyhow::Result<IpAddr> {
    let failed = || format!("cannot find this host's address on the way to {there}");
    let there = there.to_socket_addrs().with_context(failed)?.next().with_context(failed)?;
    let any: IpAddr =
        if there.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    // Connecting a datagram socket sends nothing, and tells the route.
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).with_context(failed)?;
    socket.connect(there).with_context(failed)?;
    Ok(socket.local_addr().with_context(failed)?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_a_host_begins_at_an_address_of_the_same_family() {
        assert_eq!(own_address_towards("127.0.0.1:1").unwrap(), Ipv4Addr::LOCALHOST);
        assert_eq!(own_address_towards("[::1]:1").unwrap(), Ipv6Addr::LOCALHOST);
        assert!(
            own_address_towards("nowhere.invalid:1").unwrap_err().to_string().contains("nowhere.invalid:1")
        );
    }
}
