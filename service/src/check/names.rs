//! Names that clients are sent to, or that a daemon goes to: whether they lead to an address.

use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::Finding;

/// For a name to be looked up.
const LOOKUP_TIME: Duration = Duration::from_secs(5);

/// Looks up the name in a `host:port`.
#[must_use]
pub fn look(what: &'static str, authority: &str) -> Finding {
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

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn a_name_that_nobody_has_is_told_and_localhost_is_found() {
        assert_eq!(look("x", "localhost:2881").level, Level::Ok);
        assert_eq!(look("x", "no-such-host.invalid:2881").level, Level::Failed);
    }
}
