//! IPv6: whether clients that have it can come by it.

use std::net::{IpAddr, SocketAddr};

use super::Finding;

/// Looks at the address that a key (`data.listen`) has clients come to.
#[must_use]
pub fn look(key: &str, listen: SocketAddr) -> Finding {
    judge(key, listen, global_addresses())
}

/// Addresses that IPv6 clients elsewhere could reach (/proc/net/if_inet6: address, index, length, scope …).
fn global_addresses() -> usize {
    let table = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    table.lines().filter(|line| line.split_whitespace().nth(3) == Some("00")).count()
}

fn judge(key: &str, listen: SocketAddr, global: usize) -> Finding {
    match (listen.ip(), global) {
        (IpAddr::V4(ip), 1..) if ip.is_unspecified() => Finding::warning(
            "IPv6",
            format!("this machine has IPv6 addresses, but {key} takes IPv4 clients only"),
            format!("{key} = \"[::]:{}\" takes both", listen.port()),
        ),
        (IpAddr::V6(ip), 0) if !ip.is_loopback() => Finding::warning(
            "IPv6",
            format!("{key} is an IPv6 address, and this machine has none that others could reach"),
            "give the machine one, or listen at 0.0.0.0",
        ),
        (_, global) => Finding::ok("IPv6", format!("{global} addresses that others can reach")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn a_daemon_that_ipv6_clients_cannot_reach_is_told_how_to_be_reached() {
        let at = |address: &str, global| judge("data.listen", address.parse().unwrap(), global);
        assert!(at("0.0.0.0:2881", 2).remedy.contains("data.listen = \"[::]:2881\""));
        assert_eq!(at("0.0.0.0:2881", 0).level, Level::Ok);
        assert_eq!(at("[::]:2881", 0).level, Level::Warning);
        assert_eq!(at("[::1]:2881", 0).level, Level::Ok);
        assert_eq!(at("192.0.2.1:2881", 2).level, Level::Ok);
    }
}
