//! Names that users are sent to, ports, IPv6, and TCP's buffers.

use penstock_door::check::network::authority_of;
use penstock_pool::check::network::{buffers, open_admin};
use penstock_service::check::{Finding, ipv6, names, ports};

use crate::settings::Settings;

/// Looks at them.
pub fn look(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(
        settings.url.as_ref().and_then(|url| authority_of(url.as_str())).map(|it| names::look("url", &it)),
    );
    findings.extend(settings.pool_advertise.as_ref().map(|it| names::look("pool_advertise", it)));
    let taken = ports::listening();
    let wanted = [
        ("port, clients", settings.listen),
        ("port, bytes", settings.pool_listen),
        ("port, admin", settings.admin_listen),
    ];
    findings.extend(wanted.map(|(what, address)| ports::look(what, address, &taken, "this site")));
    findings.extend(open_admin(settings.admin_listen));
    findings.push(ipv6::look("listen", settings.listen));
    findings.extend(buffers());
    findings
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use penstock_service::check::Level;
    use penstock_service::settings::Configuration as _;

    use super::*;

    #[test]
    fn what_users_and_admins_come_to_is_looked_at() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let text = format!(
            "listen = \"{}\"\nurl = \"http://no-such-host.invalid\"\npool_advertise = \"localhost:1\"\n\
             admin_listen = \"0.0.0.0:2882\"\n",
            taken.local_addr().unwrap()
        );
        let findings = look(&Settings::parse(&text, Path::new("penstock.toml")).unwrap());
        for (what, expected) in [
            ("url", Level::Failed),
            ("pool_advertise", Level::Ok),
            ("port, clients", Level::Warning),
            ("port, admin", Level::Warning),
        ] {
            let worst = findings.iter().filter(|finding| finding.what == what).map(|finding| finding.level);
            assert_eq!(worst.max(), Some(expected), "{what}: {findings:?}");
        }
    }
}
