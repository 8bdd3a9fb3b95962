//! Finds out what this kernel does with flow labels, by trying it on loopback.
//!
//! That a connection takes the label of the listener that accepted it is nothing that the kernel promises; so it is
//! looked at before it is relied upon.

use std::io::{self, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::label::FlowLabel;
use super::tag::Tag;
use crate::engine::net::{flow_label, listener};

/// Loopback takes microseconds.
const LIMIT: Duration = Duration::from_secs(2);
/// What is tried: any tag will do.
const EXPERIMENT: u16 = 1;
const ACTIVITY: u16 = 1;

/// What works; else why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abilities {
    /// Connections that are made carry labels.
    pub made: Result<(), String>,
    /// Connections that are accepted carry them.
    pub accepted: Result<(), String>,
}

impl Abilities {
    /// Nobody has asked.
    #[must_use]
    pub fn unasked() -> Abilities {
        let unasked = || Err("the policy marks no packets".to_owned());
        Abilities { made: unasked(), accepted: unasked() }
    }

    /// Tries both.
    #[must_use]
    pub fn probe() -> Abilities {
        let Some(label) = Tag::new(EXPERIMENT, ACTIVITY).and_then(FlowLabel::random) else {
            return Abilities::unasked();
        };
        let told = |tried: io::Result<()>| tried.map_err(|error| error.to_string());
        Abilities { made: told(made(label.bits())), accepted: told(accepted(label.bits())) }
    }
}

fn loopback() -> SocketAddr {
    (Ipv6Addr::LOCALHOST, 0).into()
}

fn made(label: u32) -> io::Result<()> {
    let listener = TcpListener::bind(loopback()).map_err(no_ipv6)?;
    let _client = flow_label::connect(listener.local_addr()?, label, LIMIT)?;
    let server = accept(&listener)?;
    compare(label, flow_label::of_peer(server.as_fd())?)
}

fn accepted(label: u32) -> io::Result<()> {
    drop(TcpListener::bind(loopback()).map_err(no_ipv6)?);
    let listener = TcpListener::from(listener::bind_labelled(loopback(), label)?);
    let mut client = flow_label::connect(listener.local_addr()?, 0, LIMIT)?;
    flow_label::remember_of_peer(client.as_fd())?;
    let mut server = accept(&listener)?;
    server.write_all(b"?")?;
    client.set_read_timeout(Some(LIMIT))?;
    client.read_exact(&mut [0])?;
    compare(label, flow_label::of_peer(client.as_fd())?)
}

fn no_ipv6(error: io::Error) -> io::Error {
    io::Error::other(format!("this machine has no IPv6 on loopback: {error}"))
}

/// The connection that has been made, or is about to be complete.
fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    listener.set_nonblocking(true)?;
    let give_up_at = Instant::now() + LIMIT;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < give_up_at => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error),
        }
    }
}

fn compare(set: u32, seen: u32) -> io::Result<()> {
    if set == seen {
        return Ok(());
    }
    Err(io::Error::other(format!("the label {set:#07x} was set, and {seen:#07x} is what packets carry")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_ipv6_both_work() {
        let abilities = Abilities::probe();
        if TcpListener::bind(loopback()).is_err() {
            assert!(abilities.made.unwrap_err().contains("no IPv6"));
            return;
        }
        assert_eq!(abilities, Abilities { made: Ok(()), accepted: Ok(()) });
    }
}
