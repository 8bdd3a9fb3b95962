//! The data port's sockets: one for each shard, of an address that no other process has.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::DataPortError;
use crate::engine::net::listener;

/// How long a port may still belong to a predecessor that was killed.
const KILLED_PREDECESSOR_TIME: Duration = Duration::from_secs(2);

/// Binds a port that nobody else has, and lets it go again. The kernel closes the sockets of a killed process's rings a
/// moment after the process is gone, so a pool that is started again at once has to wait for its own port.
fn bind_alone(address: SocketAddr) -> io::Result<()> {
    let give_up_at = Instant::now() + KILLED_PREDECESSOR_TIME;
    loop {
        match std::net::TcpListener::bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < give_up_at => {
                std::thread::sleep(Duration::from_millis(20));
            }
            bound => return bound.map(drop),
        }
    }
}

/// Binds a listener for each shard.
pub(super) fn bind(
    key: &'static str,
    address: SocketAddr,
    shards: usize,
) -> Result<(SocketAddr, Vec<OwnedFd>), DataPortError> {
    let failed = |error| DataPortError::Bind { key, address, error };
    // The shards share their port (SO_REUSEPORT), and the kernel would let another process of this user share it too,
    // unnoticed: so ask for it alone first.
    bind_alone(address).map_err(failed)?;
    // The first listener settles the port when any free one was asked for; the others share it.
    let first = listener::bind(address).map_err(failed)?;
    let bound = listener::address(&first).map_err(failed)?;
    let mut listeners = vec![first];
    for _ in 1..shards {
        listeners.push(listener::bind(bound).map_err(failed)?);
    }
    Ok((bound, listeners))
}
