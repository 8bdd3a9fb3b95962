//! Servers of others, as the far side of third-party copies: real ones, and one that does what a story tells it.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::daemon::Daemon;
use crate::files;
use crate::patience::eventually;
use crate::room::Room;

pub mod apache;
pub mod nginx;
pub mod openssl;
pub mod scripted;

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS, with the certificate that the server was given.
    Https,
}

/// A running web server with a directory that can be read and written by WebDAV.
pub struct WebServer {
    /// Its process.
    pub daemon: Daemon,
    http: SocketAddr,
    https: SocketAddr,
    room: Room,
}

impl WebServer {
    fn start(name: &str, command: &mut Command, http: SocketAddr, https: SocketAddr, room: Room) -> Self {
        let mut daemon = Daemon::spawn(name, command);
        for address in [http, https] {
            eventually(&format!("{name} listens at {address}"), || {
                let ended = daemon.has_ended();
                assert!(ended.is_none(), "{name} ended: {}{}", daemon.stdout(), daemon.stderr());
                TcpStream::connect(address).ok().map(drop)
            });
        }
        WebServer { daemon, http, https, room }
    }

    /// The URL of a path that begins with `/`.
    #[must_use]
    pub fn url(&self, scheme: Scheme, path: &str) -> String {
        match scheme {
            Scheme::Http => format!("http://{}{path}", self.http),
            Scheme::Https => format!("https://localhost:{}{path}", self.https.port()),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self, scheme: Scheme) -> SocketAddr {
        match scheme {
            Scheme::Http => self.http,
            Scheme::Https => self.https,
        }
    }

    /// The file that it has under a name, if it has one.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        directory_of(&self.room).join(name)
    }

    /// Makes a file that it has.
    #[must_use]
    pub fn offer(&self, name: &str, size: u64, seed: u64) -> PathBuf {
        files::file(&directory_of(&self.room), name, size, seed)
    }

    /// Whether nothing of an upload is left where it keeps those that are not complete.
    #[must_use]
    pub fn has_no_parts(&self) -> bool {
        is_empty(&parts_of(&self.room))
    }
}

fn directory_of(room: &Room) -> PathBuf {
    room.join("files")
}

fn parts_of(room: &Room) -> PathBuf {
    room.join("parts")
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).into_iter().flatten().flatten().all(|entry| {
        let path = entry.path();
        path.is_dir() && is_empty(&path)
    })
}

/// Where distributions keep servers: not everybody's PATH leads there.
fn program(name: &str) -> PathBuf {
    let usual = Path::new("/usr/sbin").join(name);
    if usual.is_file() { usual } else { name.into() }
}

/// The first line of what a program says of its version.
#[must_use]
pub fn version(name: &str, option: &str) -> String {
    let output = Command::new(program(name)).arg(option).output();
    let output = output.unwrap_or_else(|error| panic!("{name}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned()
}
