//! Names, ports, IPv6 and TCP's buffers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use penstock_pool::config::{Config, GrpcEndpoint};

use super::Finding;
use crate::cli::show::bytes;

/// For a name to be looked up.
const LOOKUP_TIME: Duration = Duration::from_secs(5);
/// LISTEN, in /proc/net/tcp (linux: include/net/tcp_states.h).
const LISTENING: &str = "0A";
/// Less than that holds back a long fat path: 10 Gb/s over 20 ms.
const BUFFER_BYTES: u64 = 16 << 20;

/// Looks at them.
pub fn look(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(authority) = &config.data_advertise {
        findings.push(name("clients", authority));
    }
    if let Some(authority) = config.data_tls.as_ref().and_then(|tls| tls.advertise.as_ref()) {
        findings.push(name("clients, TLS", authority));
    }
    for url in config.doors.values() {
        findings.push(match url::Url::parse(url).ok().and_then(|url| authority_of(&url)) {
            Some(authority) => name("door", &authority),
            None => Finding::failed("door", format!("{url} names no host"), "correct it in [doors]"),
        });
    }
    let mut ports = vec![("port, data", config.data_listen), ("port, admin", config.admin_listen)];
    ports.extend(config.data_tls.as_ref().map(|tls| ("port, TLS", tls.listen)));
    match &config.grpc {
        GrpcEndpoint::Tls { listen, .. } | GrpcEndpoint::Insecure { listen } => {
            ports.push(("port, doors", *listen));
        }
        GrpcEndpoint::Socket(_) => {}
    }
    let taken = listening();
    findings.extend(ports.into_iter().map(|(what, address)| port(what, address, &taken)));
    if !config.admin_listen.ip().is_loopback() {
        findings.push(Finding::warning(
            "port, admin",
            format!("{}: whoever reaches it sees all transfers and their users", config.admin_listen),
            "keep it on loopback, or behind a firewall",
        ));
    }
    findings.push(ipv6(config.data_listen, global_addresses()));
    findings.extend(buffers());
    findings
}

fn authority_of(url: &url::Url) -> Option<String> {
    Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?))
}

/// A name that clients are sent to.
fn name(what: &'static str, authority: &str) -> Finding {
    let (sender, found) = mpsc::channel();
    let wanted = authority.to_owned();
    // The resolver has times of its own, which are long.
    thread::spawn(move || {
        let addresses =
            wanted.to_socket_addrs().map(|addresses| addresses.map(|a| a.ip()).collect::<Vec<_>>());
        // Nobody waits any more when it took too long.
        let _ = sender.send(addresses.map_err(|error| error.to_string()));
    });
    let remedy = "correct the name, or /etc/resolv.conf and DNS";
    match found.recv_timeout(LOOKUP_TIME) {
        Ok(Ok(addresses)) if !addresses.is_empty() => {
            let list: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
            Finding::ok(what, format!("{authority} is {}", list.join(", ")))
        }
        Ok(Ok(_)) => Finding::failed(what, format!("{authority} has no address"), remedy),
        Ok(Err(error)) => Finding::failed(what, format!("{authority}: {error}"), remedy),
        Err(_) => {
            let seconds = LOOKUP_TIME.as_secs();
            Finding::failed(what, format!("{authority} is not found within {seconds} s"), remedy)
        }
    }
}

/// Where somebody listens on this machine.
fn listening() -> Vec<SocketAddr> {
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

fn port(what: &'static str, address: SocketAddr, taken: &[SocketAddr]) -> Finding {
    let clash = taken.iter().find(|other| {
        let same_ip =
            other.ip() == address.ip() || other.ip().is_unspecified() || address.ip().is_unspecified();
        other.port() == address.port() && same_ip
    });
    match clash {
        Some(other) => Finding::warning(
            what,
            format!("{address}: somebody listens at {other} already"),
            "good if it is this pool; else stop it or choose another port (ss -tlnp shows who)",
        ),
        None if address.port() == 0 => Finding::warning(
            what,
            format!("{address}: another port at each start"),
            "choose one, except for a trial",
        ),
        None => Finding::ok(what, format!("{address}: free")),
    }
}

/// Addresses that IPv6 clients elsewhere could reach (/proc/net/if_inet6: address, index, length, scope …).
fn global_addresses() -> usize {
    let table = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    table.lines().filter(|line| line.split_whitespace().nth(3) == Some("00")).count()
}

fn ipv6(listen: SocketAddr, global: usize) -> Finding {
    match (listen.ip(), global) {
        (IpAddr::V4(ip), 1..) if ip.is_unspecified() => Finding::warning(
            "IPv6",
            "this machine has IPv6 addresses, but data.listen takes IPv4 clients only",
            format!("data.listen = \"[::]:{}\" takes both", listen.port()),
        ),
        (IpAddr::V6(_), 0) => Finding::warning(
            "IPv6",
            "data.listen is an IPv6 address, and this machine has none that others could reach",
            "give the machine one, or listen at 0.0.0.0",
        ),
        (_, global) => Finding::ok("IPv6", format!("{global} addresses that others can reach")),
    }
}

/// What TCP's buffers may grow to: the last number of each sysctl.
fn buffers() -> Vec<Finding> {
    let mut findings = Vec::new();
    for (what, sysctl) in [("TCP, receiving", "tcp_rmem"), ("TCP, sending", "tcp_wmem")] {
        let text = std::fs::read_to_string(format!("/proc/sys/net/ipv4/{sysctl}")).unwrap_or_default();
        let Some(most) = text.split_whitespace().nth(2).and_then(|most| most.parse::<u64>().ok()) else {
            continue;
        };
        let found = format!("buffers grow to {}", bytes(most));
        findings.push(if most < BUFFER_BYTES {
            let remedy = format!(
                "net.ipv4.{sysctl} with {BUFFER_BYTES} or more as its last number, for long fat paths: the package's \
                 90-penstock.conf in /usr/lib/sysctl.d has it"
            );
            Finding::warning(what, found, remedy)
        } else {
            Finding::ok(what, found)
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::Level;

    #[test]
    fn listeners_are_found_in_the_kernels_table() {
        let own = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = own.local_addr().unwrap();
        assert!(listening().contains(&address), "{:?}", listening());
        assert_eq!(port("x", address, &listening()).level, Level::Warning);
        drop(own);
        assert_eq!(port("x", address, &listening()).level, Level::Ok);
    }

    #[test]
    fn a_name_that_nobody_has_is_told_and_localhost_is_found() {
        assert_eq!(name("x", "localhost:2881").level, Level::Ok);
        assert_eq!(name("x", "no-such-host.invalid:2881").level, Level::Failed);
    }

    #[test]
    fn a_pool_that_ipv6_clients_cannot_reach_is_told_how_to_be_reached() {
        let everywhere = "0.0.0.0:2881".parse().unwrap();
        assert!(ipv6(everywhere, 2).remedy.contains("[::]:2881"));
        assert_eq!(ipv6(everywhere, 0).level, Level::Ok);
        assert_eq!(ipv6("[::]:2881".parse().unwrap(), 0).level, Level::Warning);
        assert_eq!(ipv6("192.0.2.1:2881".parse().unwrap(), 2).level, Level::Ok);
    }
}
