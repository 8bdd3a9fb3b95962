//! `openssl s_server`, for clients with a certificate only; proxies of one (RFC 3820) are as good.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use crate::certificates::Identity;
use crate::daemon::Daemon;
use crate::patience::eventually;
use crate::ports;
use crate::room::Room;

/// A running one.
pub struct Believing {
    /// Its process, which says whom it has seen.
    pub daemon: Daemon,
    address: SocketAddr,
    _room: Room,
}

impl Believing {
    /// Starts one that serves a file under a name, to clients whom this authority vouches for.
    #[must_use]
    pub fn serving(name: &str, bytes: &[u8], identity: &Identity, authority: &Path) -> Believing {
        Self::start(name, bytes, identity, authority, &["-verify_return_error"])
    }

    /// The same to whoever has a certificate and its key: what OpenSSL thinks of it stands in what the process says, and
    /// the story judges. For kinds of proxies that OpenSSL has never known.
    #[must_use]
    pub fn asking(name: &str, bytes: &[u8], identity: &Identity, authority: &Path) -> Believing {
        Self::start(name, bytes, identity, authority, &[])
    }

    fn start(name: &str, bytes: &[u8], identity: &Identity, authority: &Path, more: &[&str]) -> Believing {
        let room = Room::new();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", bytes.len());
        fs::write(room.join(name), [head.as_bytes(), bytes].concat()).expect("the room can be written");
        let [address] = ports::free();
        let mut command = Command::new("openssl");
        command
            // -HTTP: files are whole answers, heads and all.
            .args(["s_server", "-HTTP", "-Verify", "9", "-allow_proxy_certs"])
            .args(more)
            .arg("-accept")
            .arg(address.to_string())
            .arg("-cert")
            .arg(&identity.certificate)
            .arg("-key")
            .arg(&identity.key)
            .arg("-CAfile")
            .arg(authority)
            .current_dir(room.path());
        let mut daemon = Daemon::spawn("openssl s_server", &mut command);
        eventually("openssl s_server listens", || {
            assert!(daemon.runs(), "openssl s_server ended: {}", daemon.stderr());
            TcpStream::connect(address).ok().map(drop)
        });
        Believing { daemon, address, _room: room }
    }

    /// The URL of a file.
    #[must_use]
    pub fn url(&self, name: &str) -> String {
        format!("https://localhost:{}/{name}", self.address.port())
    }
}

/// Names the certificates in a directory by their hashes, as programs with OpenSSL look for them.
pub fn rehash(directory: &Path) {
    let output = Command::new("openssl").arg("rehash").arg(directory).output();
    let output = output.expect("openssl runs (Debian: apt-get install openssl)");
    assert!(output.status.success(), "openssl rehash: {}", String::from_utf8_lossy(&output.stderr));
}
