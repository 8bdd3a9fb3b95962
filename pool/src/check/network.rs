//! Names, ports, IPv6 and TCP's buffers.

use std::net::SocketAddr;

use crate::config::{Config, GrpcEndpoint};
use penstock_service::check::{Finding, ipv6, names, ports};

use penstock_service::check::bytes;

/// Less than that holds back a long fat path: 10 Gb/s over 20 ms.
const BUFFER_BYTES: u64 = 16 << 20;

/// Looks at them.
#[must_use]
pub fn look(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(authority) = &config.data_advertise {
        findings.push(names::look("clients", authority));
    }
    if let Some(authority) = config.data_tls.as_ref().and_then(|tls| tls.advertise.as_ref()) {
        findings.push(names::look("clients, TLS", authority));
    }
    for url in config.doors.values() {
        findings.push(match url::Url::parse(url).ok().and_then(|url| authority_of(&url)) {
            Some(authority) => names::look("door", &authority),
            None => Finding::failed("door", format!("{url} names no host"), "correct it in [doors]"),
        });
    }
    let mut wanted = vec![("port, data", config.data_listen), ("port, admin", config.admin_listen)];
    wanted.extend(config.data_tls.as_ref().map(|tls| ("port, TLS", tls.listen)));
    match &config.grpc {
        GrpcEndpoint::Tls { listen, .. } | GrpcEndpoint::Insecure { listen } => {
            wanted.push(("port, doors", *listen));
        }
        GrpcEndpoint::Socket(_) => {}
    }
    let taken = ports::listening();
    findings
        .extend(wanted.into_iter().map(|(what, address)| ports::look(what, address, &taken, "this pool")));
    findings.extend(open_admin(config.admin_listen));
    findings.push(ipv6::look("data.listen", config.data_listen));
    findings.extend(buffers());
    findings
}

fn authority_of(url: &url::Url) -> Option<String> {
    Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?))
}

/// An admin port that others than this machine's reach.
#[must_use]
pub fn open_admin(listen: SocketAddr) -> Option<Finding> {
    (!listen.ip().is_loopback()).then(|| {
        Finding::warning(
            "port, admin",
            format!("{listen}: whoever reaches it sees all transfers and their users"),
            "keep it on loopback, or behind a firewall",
        )
    })
}

/// What TCP's buffers may grow to: the last number of each sysctl.
#[must_use]
pub fn buffers() -> Vec<Finding> {
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
