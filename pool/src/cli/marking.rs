//! `marking check`: what of packet marking will work on this host, and what will not, and why.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::process::ExitCode;

use penstock_pool::config::Config;
use penstock_pool::engine::net::listener::bind_labelled;
use penstock_pool::marking::settings::{FIREFLY_PORT, Ports};
use penstock_pool::marking::{Abilities, FlowLabel, Registry, Settings, Tag, look_up};
use serde_json::json;

use super::options::Options;
use super::show::print;
use super::table::{Align, Table};

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It works.
    Works,
    /// It is not asked for, or no obstacle.
    Aside,
    /// It will not work, though it is asked for.
    Fails,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Verdict::Works => "works",
            Verdict::Aside => "-",
            Verdict::Fails => "does not work",
        }
    }
}

/// One thing that was looked at.
struct Finding {
    what: &'static str,
    verdict: Verdict,
    why: String,
}

/// What was looked at so far.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, what: &'static str, verdict: Verdict, why: impl Into<String>) {
        self.0.push(Finding { what, verdict, why: why.into() });
    }

    /// Works, or is a failure only where it is wanted.
    fn tried(&mut self, what: &'static str, wanted: bool, tried: Result<String, String>) {
        match tried {
            Ok(how) => self.add(what, Verdict::Works, how),
            Err(why) => self.add(what, if wanted { Verdict::Fails } else { Verdict::Aside }, why),
        }
    }
}

/// Looks at everything. Ends with 1 when something that the configuration asks for will not work.
pub fn check(options: &Options) -> anyhow::Result<ExitCode> {
    let sources = options.usual_sources();
    let config = if sources.are_empty() { None } else { Some(sources.load::<Config>()?.config) };
    let settings = config.as_ref().map_or_else(Settings::default, |config| config.marking.clone());
    let mut findings = Findings::default();
    look_at_host(&settings, &mut findings);
    look_at_ports(&settings, config.as_ref(), &mut findings);
    look_at_fireflies(&settings, &mut findings);
    print(&if options.json { as_json(&findings.0) } else { as_text(&findings.0) })?;
    let fails = findings.0.iter().any(|finding| finding.verdict == Verdict::Fails);
    Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The kernel, its settings, and addresses.
fn look_at_host(settings: &Settings, findings: &mut Findings) {
    let wanted = settings.rules.may_label();
    findings.add("policy", Verdict::Aside, settings.rules.policy.to_string());
    let loopback = TcpListener::bind("[::1]:0").map(|_| "::1 is there".to_owned());
    findings.tried("IPv6", wanted, loopback.map_err(|error| format!("no ::1 here: {error}")));
    findings.tried("IPv6 to the world", wanted, global_address());
    let Abilities { made, accepted } = Abilities::probe();
    let tried = "tried on loopback: the label that was set is what packets carry";
    findings.tried("labels of connections made", wanted, made.map(|()| tried.to_owned()));
    findings.tried("labels of connections accepted", wanted, accepted.map(|()| tried.to_owned()));
    let exclusive = match std::fs::read_to_string("/proc/net/ip6_flowlabel") {
        Ok(leases) if leases.lines().skip(1).any(is_exclusive) => {
            "somebody has one: labels need a lease of their own, which the pool takes"
        }
        Ok(_) => "none in this network namespace",
        Err(_) => "cannot be read; the pool takes a lease of its own where that is needed",
    };
    findings.add("exclusive leases", Verdict::Aside, exclusive);
    for (name, meanings) in SYSCTLS {
        let path = format!("/proc/sys/net/ipv6/{name}");
        let value = std::fs::read_to_string(path).map(|value| value.trim().to_owned());
        let value = value.unwrap_or_else(|_| "not there".to_owned());
        let meaning =
            meanings.iter().find(|(of, _)| *of == value).map_or("no obstacle", |(_, meaning)| *meaning);
        findings.add(name, Verdict::Aside, format!("{value}: {meaning}"));
    }
}

/// Kernel settings that have to do with labels, and what some of their values mean here.
const SYSCTLS: [(&str, &[(&str, &str)]); 4] = [
    (
        "flowlabel_state_ranges",
        &[("1", "leases of labels from 0x80000 on are refused; labels without a lease are not")],
    ),
    ("flowlabel_consistency", &[]),
    ("flowlabel_reflect", &[("1", "clients' own labels are sent back to them, where no listener has one")]),
    (
        "auto_flowlabels",
        &[
            ("0", "packets that are not marked carry no label at all"),
            ("1", "packets that are not marked carry random labels; no obstacle"),
        ],
    ),
];

/// A line of the kernel's list of leases: its second column is how it is shared, 1 is not at all.
fn is_exclusive(line: &str) -> bool {
    line.split_whitespace().nth(1) == Some("1")
}

/// An address with which the world can be reached.
fn global_address() -> Result<String, String> {
    let list = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    // Address, interface number, prefix length, scope, flags, name: a scope of 0 is global.
    let global = list.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (address, scope, name) = (words.next()?, words.nth(2)?, words.nth(1)?);
        let bits = u128::from_str_radix(address, 16).ok()?;
        (scope == "00").then(|| format!("{} on {name}", std::net::Ipv6Addr::from_bits(bits)))
    });
    global.ok_or_else(|| {
        "no interface has a global IPv6 address: all flows to other hosts go unlabelled".to_owned()
    })
}

/// Ports for clients.
fn look_at_ports(settings: &Settings, config: Option<&Config>, findings: &mut Findings) {
    let wanted = settings.rules.may_label();
    let Some(config) = config else {
        let why = "no configuration was given: --config FILE";
        return findings.add("ports for clients", Verdict::Aside, why);
    };
    if settings.ports == Ports::None {
        let why = "marking.ports is 0: packets to clients carry no labels, those of third-party copies do";
        return findings.add("ports for clients", Verdict::Aside, why);
    }
    let addresses = [Some(config.data_listen), config.data_tls.as_ref().map(|tls| tls.listen)];
    for address in addresses.into_iter().flatten() {
        let tried = if address.is_ipv6() {
            a_free_port(settings.ports, address.ip())
        } else {
            Err(format!("{address} is IPv4, which has no labels: listen on \"[::]:{}\"", address.port()))
        };
        findings.tried("ports for clients", wanted, tried);
    }
}

/// Binds ports as the pool would. The pool itself may hold some of them, if it runs.
fn a_free_port(ports: Ports, address: IpAddr) -> Result<String, String> {
    let label = Tag::new(1, 1).and_then(|tag| FlowLabel::new(tag, 0)).map_or(0, FlowLabel::bits);
    let numbers = match ports {
        Ports::Range(first, last) => first..=last,
        Ports::Any(_) | Ports::None => 0..=0,
    };
    let (mut free, mut refused) = (0, None);
    for number in numbers {
        let at = SocketAddr::new(address, number);
        match TcpListener::bind(at).and_then(|alone| {
            drop(alone);
            bind_labelled(at, label)
        }) {
            Ok(_) => free += 1,
            Err(error) => refused = Some(format!("port {number}: {error}")),
        }
    }
    match refused {
        Some(refused) if free == 0 => Err(format!("none of {ports} can be had: {refused}")),
        _ if ports.count() == 1 || free > 1 => {
            Ok(format!("{free} of {ports} are free; clients must be able to reach them"))
        }
        _ => Ok(format!("{ports}; clients must be able to reach them")),
    }
}

/// Collectors, peers and names.
fn look_at_fireflies(settings: &Settings, findings: &mut Findings) {
    let wanted = settings.rules.may_send();
    let registry = settings.registry.as_deref().map_or_else(|| Ok(Registry::built_in()), Registry::load);
    let known = registry.map(|registry| format!("{} experiments", registry.len()));
    findings.tried("names", true, known.map_err(|error| error.to_string()));
    let to_peers = match settings.to_peers {
        true => format!("go to the other end of each flow, UDP port {FIREFLY_PORT}"),
        false => "do not go to the other ends of flows (marking.to_peers)".to_owned(),
    };
    findings.add("fireflies", Verdict::Aside, to_peers);
    for collector in &settings.collectors {
        let reached = look_up(collector).and_then(|addresses| {
            let mut failed = std::io::Error::other("no address");
            for address in addresses {
                let any: SocketAddr =
                    if address.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
                match UdpSocket::bind(any).and_then(|socket| socket.connect(address)) {
                    Ok(()) => return Ok(format!("{collector}: there is a way to {address}")),
                    Err(error) => failed = error,
                }
            }
            Err(failed)
        });
        findings.tried("collector", wanted, reached.map_err(|error| format!("{collector}: {error}")));
    }
}

fn as_text(findings: &[Finding]) -> String {
    let mut table = Table::new([("WHAT", Align::Left), ("", Align::Left), ("WHY", Align::Left)]);
    let mut text = String::new();
    for Finding { what, verdict, why } in findings {
        text.push_str(&table.add([(*what).to_owned(), verdict.as_str().to_owned(), why.clone()]));
    }
    text.push_str(&table.finish());
    text
}

fn as_json(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let works = match finding.verdict {
            Verdict::Works => Some(true),
            Verdict::Fails => Some(false),
            Verdict::Aside => None,
        };
        format!("{}\n", json!({"what": finding.what, "works": works, "why": finding.why}))
    };
    findings.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_asked_for_does_not_fail() {
        let mut findings = Findings::default();
        findings.tried("a", true, Ok("how".into()));
        findings.tried("b", true, Err("why".into()));
        findings.tried("c", false, Err("why not".into()));
        let verdicts: Vec<_> = findings.0.iter().map(|finding| finding.verdict).collect();
        assert_eq!(verdicts, [Verdict::Works, Verdict::Fails, Verdict::Aside]);
        let json = as_json(&findings.0);
        assert!(json.lines().nth(1) == Some(r#"{"what":"b","why":"why","works":false}"#), "{json}");
        assert!(as_text(&findings.0).contains("b     does not work  why\n"), "{}", as_text(&findings.0));
    }

    #[test]
    fn an_exclusive_lease_is_recognised_in_the_kernels_list() {
        let line = "00001 1  0       0      1      6        0 00000000000000000000000000000001 0";
        assert!(is_exclusive(line));
        assert!(!is_exclusive("00001 255 0 0 1 6 0 00000000000000000000000000000001 0"));
    }

    #[test]
    fn ports_of_ipv4_are_no_use_and_say_what_to_do() {
        let mut config = Config::new("p", "/r");
        config.marking.ports = Ports::Any(4);
        let mut findings = Findings::default();
        look_at_ports(&config.marking, Some(&config), &mut findings);
        assert_eq!(findings.0[0].verdict, Verdict::Fails);
        assert!(findings.0[0].why.contains("listen on \"[::]:2881\""), "{}", findings.0[0].why);
    }
}
