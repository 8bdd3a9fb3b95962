//! Names, ports and IPv6.

use crate::{Config, PoolAccess};
use penstock_service::check::{Finding, ipv6, names, ports};
use url::Url;

/// Looks at them.
#[must_use]
pub fn look(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(authority) = config.url.as_ref().and_then(|url| authority_of(url.as_str())) {
        findings.push(names::look("clients", &authority));
    }
    for pool in &config.pools {
        if let PoolAccess::Tls { address, .. } = &pool.access {
            findings.push(names::look("pool's name", address));
        }
    }
    let taken = ports::listening();
    for issuer in &config.authentication.issuers {
        findings.extend(authority_of(&issuer.url).map(|authority| names::look("issuer", &authority)));
    }
    let mut wanted = Vec::new();
    wanted.extend(config.plain_listen().map(|address| ("port, clients", address)));
    wanted.extend(config.tls.as_ref().map(|tls| ("port, https", tls.listen)));
    wanted.extend(config.admin_listen.map(|address| ("port, admin", address)));
    findings
        .extend(wanted.into_iter().map(|(what, address)| ports::look(what, address, &taken, "this door")));
    if let Some(address) = config.admin_listen.filter(|address| !address.ip().is_loopback()) {
        findings.push(Finding::warning(
            "port, admin",
            format!("{address}: whoever reaches it learns names of damaged files"),
            "keep it on loopback, or behind a firewall",
        ));
    }
    let clients = config.plain_listen().map(|address| ("listen", address));
    let clients = clients.or_else(|| config.tls.as_ref().map(|tls| ("tls.listen", tls.listen)));
    findings.extend(clients.map(|(key, address)| ipv6::look(key, address)));
    findings
}

/// Host and port of a URL.
#[must_use]
pub fn authority_of(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use penstock_service::check::Level;

    use super::*;

    #[test]
    fn what_clients_and_admins_come_to_is_looked_at() {
        let admin = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let text = format!(
            "url = \"http://no-such-host.invalid\"\nlisten = \"{}\"\nadmin_listen = \"{admin}\"\nnamespace = \"/n\"\n\
             macaroon_keys = \"/k\"\n[[pools]]\nname = \"p\"\nsocket = \"/s\"\n",
            taken.local_addr().unwrap()
        );
        let config = Config::parse(&text, Path::new("door.toml")).unwrap();
        let findings = look(&config);
        let level = |what| findings.iter().find(|finding| finding.what == what).unwrap().level;
        assert_eq!(level("clients"), Level::Failed);
        assert_eq!(level("port, clients"), Level::Warning);
        assert_eq!(level("port, admin"), Level::Ok);
    }
}
