//! Free ports for daemons whose configuration must name them beforehand.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// Ports that are given out: above those of well-known services, below those that Linux gives to connections by
/// default. A daemon that is started again must find its port free, and between its death and its start any connection
/// of the machine could get one of the latter.
const FIRST: u32 = 15_000;
const COUNT: u32 = 32_768 - FIRST;
/// Processes of tests that run at the same time begin at different places.
const STRIDE: u32 = 997;

/// So many loopback addresses with ports that nobody listens on, all different, and given to nobody else in this
/// process.
#[must_use]
pub fn free<const WANTED: usize>() -> [SocketAddr; WANTED] {
    [(); WANTED].map(|()| next())
}

fn next() -> SocketAddr {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    for _ in 0..COUNT {
        let number =
            std::process::id().wrapping_mul(STRIDE).wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + number % COUNT).expect("ports are below 32 768");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port is free");
}
