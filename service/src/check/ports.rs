//! Ports that a daemon is to listen at: whether somebody does already.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Finding;

/// LISTEN, in /proc/net/tcp (linux: include/net/tcp_states.h).
const LISTENING: &str = "0A";

/// Where somebody listens on this machine.
#[must_use]
pub fn listening() -> Vec<SocketAddr> {
    let table = |path| std::fs::read_to_string(path).unwrap_or_default();
    let (four, six) = (table("/proc/net/tcp"), table("/proc/net/tcp6"));
    four.lines().chain(six.lines()).filter_map(listener).collect()
}

/// A line of /proc/net/tcp (proc_net_tcp(5)): words of four bytes in the machine's own order.
fn listener(line: &str) -> Option<SocketAddr> {
    let mut fields = line.split_whitespace().skip(1);
    let (address, port) = fields.next()?.split_once(':')?;
    if fields.nth(1)? != LISTENING {
        return None;
    }
    let mut bytes = Vec::with_capacity(16);
    for start in (0..address.len()).step_by(8) {
        bytes.extend(u32::from_str_radix(address.get(start..start + 8)?, 16).ok()?.to_ne_bytes());
    }
    let ip = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(four) => IpAddr::V4(Ipv4Addr::from(four)),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?)),
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// Whether an address is free. `daemon`: what it may be that listens there, as in "this pool".
#[must_use]
pub fn look(what: &'static str, address: SocketAddr, taken: &[SocketAddr], daemon: &str) -> Finding {
    let clash = taken.iter().find(|other| {
        let same_ip =
            other.ip() == address.ip() || other.ip().is_unspecified() || address.ip().is_unspecified();
        other.port() == address.port() && same_ip
    });
    match clash {
        Some(other) => Finding::warning(
            what,
            format!("{address}: somebody listens at {other} already"),
            format!("good if it is {daemon}; else stop it or choose another port (ss -tlnp shows who)"),
        ),
        None if address.port() == 0 => Finding::warning(
            what,
            format!("{address}: another port at each start"),
            "choose one, except for a trial",
        ),
        None => Finding::ok(what, format!("{address}: free")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn listeners_are_found_in_the_kernels_table() {
        let own = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = own.local_addr().unwrap();
        assert!(listening().contains(&address), "{:?}", listening());
        assert_eq!(look("x", address, &listening(), "this pool").level, Level::Warning);
        drop(own);
        assert_eq!(look("x", address, &listening(), "this pool").level, Level::Ok);
        assert_eq!(look("x", "127.0.0.1:0".parse().unwrap(), &[], "this pool").level, Level::Warning);
    }
}
