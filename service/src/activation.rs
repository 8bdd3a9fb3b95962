//! Sockets that the service manager has opened beforehand (sd_listen_fds): clients that come while the daemon is
//! restarted wait in the kernel's queue instead of being refused.

use std::io;
use std::net::TcpListener;

use listenfd::ListenFd;

/// Sockets that one unit may hand over; more are a mistake.
const SOCKETS_MAX: usize = 16;

/// The TCP listeners that were handed over; none, when the daemon was started in another way. Only the first call gets
/// them.
pub fn take_listeners() -> io::Result<Vec<TcpListener>> {
    Ok(take_named_listeners()?.into_iter().map(|(_, listener)| listener).collect())
}

/// The same with the names that the units give them (`FileDescriptorName=`); without one, systemd says the unit's name.
/// Empty, where nothing is said.
pub fn take_named_listeners() -> io::Result<Vec<(String, TcpListener)>> {
    // sd_listen_fds_with_names(3). Looked at before the other variables are taken.
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut handed_over = ListenFd::from_env();
    if handed_over.len() > SOCKETS_MAX {
        return Err(io::Error::other(format!(
            "the service manager hands over {} sockets; at most {SOCKETS_MAX} make sense",
            handed_over.len()
        )));
    }
    let mut listeners = Vec::new();
    for index in 0..handed_over.len() {
        // An error for what is no listening TCP socket.
        let taken = handed_over.take_tcp_listener(index).map_err(|error| {
            io::Error::other(format!("socket {index} of the service manager is no TCP listener: {error}"))
        })?;
        let name = names.next().unwrap_or_default();
        if let Some(listener) = taken {
            listener.set_nonblocking(true)?;
            listeners.push((name.to_owned(), listener));
        }
    }
    Ok(listeners)
}
