//! A network of a story's own: two namespaces and a wire between them, which can be slow, cut and mended. What runs
//! inside sees nothing of the machine's network, and the machine nothing of it.
//!
//! Taken down when dropped, also by a story that fails.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

/// The near side's address on the wire (RFC 5737: for documentation, so that it cannot be anybody's).
pub const NEAR: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// The far side's.
pub const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

/// The wire's end, on either side.
const WIRE: &str = "wire";

/// Two namespaces and their wire.
#[derive(Debug)]
pub struct Network {
    near: String,
    far: String,
}

impl Network {
    /// A new one; else `None`, after it has said why the story is skipped.
    #[must_use]
    pub fn new_or_skip() -> Option<Network> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root can make network namespaces");
            return None;
        }
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = |side: &str| format!("penstock-{}-{number}-{side}", std::process::id());
        let network = Network { near: name("near"), far: name("far") };
        match network.make() {
            Ok(()) => Some(network),
            Err(why) => {
                println!("skipped: no network of one's own here: {why}");
                None
            }
        }
    }

    fn make(&self) -> Result<(), String> {
        for namespace in [&self.near, &self.far] {
            ip(&["netns", "add", namespace])?;
            ip(&["-n", namespace, "link", "set", "lo", "up"])?;
        }
        ip(&[
            "-n", &self.near, "link", "add", WIRE, "type", "veth", "peer", "name", WIRE, "netns", &self.far,
        ])?;
        for (namespace, address) in [(&self.near, NEAR), (&self.far, FAR)] {
            ip(&["-n", namespace, "address", "add", &format!("{address}/24"), "dev", WIRE])?;
            ip(&["-n", namespace, "link", "set", WIRE, "up"])?;
        }
        Ok(())
    }

    /// Lets the wire carry so many megabits per second in each direction. False, after it has said why the story is
    /// skipped, where the kernel cannot.
    #[must_use]
    pub fn limit_or_skip(&self, megabits_per_second: u32) -> bool {
        let rate = format!("{megabits_per_second}mbit");
        for namespace in [&self.near, &self.far] {
            let words = ["-n", namespace, "qdisc", "replace", "dev", WIRE, "root", "tbf", "rate", &rate];
            let limited = run(Command::new("tc").args(words).args(["burst", "256kb", "latency", "100ms"]));
            if let Err(why) = limited {
                println!("skipped: no slow wire here: {why}");
                return false;
            }
        }
        true
    }

    /// Does something on the near side: what it starts runs there.
    pub fn near<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        inside(&self.near, what)
    }

    /// Does something on the far side.
    pub fn far<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        inside(&self.far, what)
    }

    /// Cuts the wire: both ends lose the link.
    pub fn cut(&self) {
        ip(&["-n", &self.far, "link", "set", WIRE, "down"]).expect("a wire can be cut");
    }

    /// Joins it again.
    pub fn mend(&self) {
        ip(&["-n", &self.far, "link", "set", WIRE, "up"]).expect("a wire can be mended");
    }

    /// Bytes that the near side has got over the wire, and those that it has sent.
    #[must_use]
    pub fn carried(&self) -> (u64, u64) {
        let told = ip(&["-n", &self.near, "-statistics", "-json", "link", "show", "dev", WIRE])
            .expect("a wire counts what it carries");
        let told: Value = serde_json::from_str(&told).expect("ip writes JSON");
        let count = |direction: &str| {
            told[0]["stats64"][direction]["bytes"].as_u64().unwrap_or_else(|| panic!("no counts: {told}"))
        };
        (count("rx"), count("tx"))
    }

    /// Has the far side's kernel end all connections of a port, as a firewall does that forgets them: both ends see a
    /// reset. Gives how many; 0 where the kernel cannot (`CONFIG_INET_DIAG_DESTROY`).
    #[must_use]
    pub fn reset_far(&self, port: u16) -> usize {
        let filter = format!("sport = :{port}");
        let ended = self.far(|| {
            run(Command::new("ss")
                .args(["--kill", "--tcp", "--numeric", "--no-header", "state", "established"])
                .arg(&filter))
        });
        ended.expect("ss runs").lines().filter(|line| !line.trim().is_empty()).count()
    }

    /// Connections of the far side's port, whatever their state, but for those that only wait for late packets.
    #[must_use]
    pub fn far_connections(&self, port: u16) -> usize {
        let filter = format!("sport = :{port}");
        let there = self.far(|| {
            run(Command::new("ss")
                .args(["--tcp", "--numeric", "--no-header", "exclude", "time-wait", "exclude", "listening"])
                .arg(&filter))
        });
        there.expect("ss runs").lines().filter(|line| !line.trim().is_empty()).count()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for namespace in [&self.near, &self.far] {
            // Fails only when it was not made.
            let _ = ip(&["netns", "delete", namespace]);
        }
    }
}

/// A namespace is a thread's, and that of the processes which the thread starts.
fn inside<T: Send>(namespace: &str, what: impl FnOnce() -> T + Send) -> T {
    let path = format!("/run/netns/{namespace}");
    let there = File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let outcome = thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_link_name_space(there.as_fd(), Some(LinkNameSpaceType::Network))
                .unwrap_or_else(|error| panic!("{path}: {error}"));
            what()
        });
        thread.join()
    });
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn ip(words: &[&str]) -> Result<String, String> {
    run(Command::new("ip").args(words))
}

fn run(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
