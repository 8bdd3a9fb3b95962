//! A site of several processes: pools, and a door that reaches them over TCP with mutual TLS.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::binaries::binary;
use crate::certificates::{Authority, Identity};
use crate::curl::Curl;
use crate::daemon::Daemon;
use crate::lone_pool::start_pool;
use crate::metrics::Metrics;
use crate::patience::eventually;
use crate::ports;
use crate::room::Room;

/// A running site.
pub struct Cluster {
    /// The door's process.
    pub door: Daemon,
    /// The pools.
    pub pools: Vec<Pool>,
    /// `http://127.0.0.1:PORT` of the door.
    pub door_url: String,
    /// Who has signed all certificates.
    pub authority: Authority,
    door_address: SocketAddr,
    room: Room,
}

/// A door besides the first.
pub struct Door {
    /// Its process.
    pub daemon: Daemon,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
}

/// One pool of it.
pub struct Pool {
    /// Its process.
    pub daemon: Daemon,
    /// Its name.
    pub name: String,
    /// Its configuration file.
    pub config: PathBuf,
    /// Its directory.
    pub root: PathBuf,
    /// Where clients come to.
    pub data: SocketAddr,
    /// Where its numbers are.
    pub admin: SocketAddr,
    /// Where doors come to.
    pub grpc: SocketAddr,
}

/// What the door says on stdout once its port answers.
const DOOR_READY: &str = "penstock-door ready: ";

impl Cluster {
    /// Starts so many pools, and a door where everybody may write.
    #[must_use]
    pub fn start(pools: usize) -> Cluster {
        Self::start_with(pools, "")
    }

    /// The same, with more lines in the pools' configuration.
    #[must_use]
    pub fn start_with(pools: usize, more: &str) -> Cluster {
        let room = Room::new();
        let names = room.join("namespace.db").display().to_string();
        Self::start_in(room, pools, more, &names)
    }

    /// The same, with the names in a database that the door's configuration calls so.
    #[must_use]
    pub fn start_with_names(pools: usize, names: &str) -> Cluster {
        Self::start_in(Room::new(), pools, "", names)
    }

    fn start_in(room: Room, pools: usize, more: &str, names: &str) -> Cluster {
        let authority = Authority::new(room.path(), "site");
        let pools: Vec<Pool> = (1..=pools)
            .map(|number| Pool::start(room.path(), &format!("pool{number:02}"), &authority, more))
            .collect();
        let [door_address] = ports::free();
        let identity = authority.issue("door");
        let config = door_config(&room, door_address, names, &pools, &authority, &identity);
        make_keys(&config, &room.join("token"));
        let door = start_door(&config);
        let cluster = Cluster {
            door,
            pools,
            door_url: format!("http://{door_address}"),
            authority,
            door_address,
            room,
        };
        cluster.wait_for_pools();
        cluster
    }

    /// The story's own directory.
    #[must_use]
    pub fn room(&self) -> &Path {
        self.room.path()
    }

    /// Where the door listens.
    #[must_use]
    pub fn door_address(&self) -> SocketAddr {
        self.door_address
    }

    /// curl at a path of the door.
    #[must_use]
    pub fn curl(&self, path: &str) -> Curl {
        Curl::new(format!("{}{path}", self.door_url))
    }

    /// The pool whose data port a URL points to.
    #[must_use]
    pub fn pool_of(&self, url: &str) -> &Pool {
        self.pools
            .iter()
            .find(|pool| url.starts_with(&format!("http://{}/", pool.data)))
            .unwrap_or_else(|| panic!("no pool is at {}", url.split('?').next().unwrap_or_default()))
    }

    /// Kills the door as a crash would, and starts it again.
    pub fn crash_door(&mut self) {
        self.door.signal(rustix::process::Signal::KILL);
        let _ = self.door.ended();
        self.door = start_door(&self.room.join("door.toml"));
    }

    /// Starts another door for the same pools and names, and waits until it knows of the pools.
    #[must_use]
    pub fn another_door(&self, name: &str) -> Door {
        let [address] = ports::free();
        let text = fs::read_to_string(self.room.join("door.toml")).expect("the first door has one");
        let text = text
            .replace("name = \"door01\"", &format!("name = \"{name}\""))
            .replace(&self.door_address.to_string(), &address.to_string());
        let config = self.room.join(&format!("{name}.toml"));
        fs::write(&config, text).expect("the room can be written");
        let door = Door { daemon: start_door(&config), url: format!("http://{address}") };
        self.wait_for_pools_at(&door.url);
        door
    }

    /// Waits until the door knows of every pool that it is well.
    pub fn wait_for_pools(&self) {
        self.wait_for_pools_at(&self.door_url);
    }

    fn wait_for_pools_at(&self, door: &str) {
        let probe = self.room.join("probe");
        fs::write(&probe, b"?").expect("the room can be written");
        eventually("the door has found the pools", || {
            // 201 for the first, 204 for those after it.
            let probing = Curl::new(format!("{door}/.probe")).follow().upload(&probe).run();
            (probing.status / 100 == 2).then_some(())
        });
    }
}

impl Pool {
    fn start(room: &Path, name: &str, authority: &Authority, more: &str) -> Pool {
        let identity = authority.issue(name);
        let [data, admin, grpc] = ports::free();
        let root = room.join(format!("{name}-data"));
        let config = room.join(format!("{name}.toml"));
        let text = format!(
            "name = \"{name}\"\n\
             root = \"{root}\"\n\
             buffer_memory = \"16 MiB\"\n\
             reserve = 0\n\
             [data]\n\
             listen = \"{data}\"\n\
             [admin]\n\
             listen = \"{admin}\"\n\
             [grpc]\n\
             listen = \"{grpc}\"\n\
             cert = \"{certificate}\"\n\
             key = \"{key}\"\n\
             client_ca = \"{ca}\"\n\
             {more}",
            root = root.display(),
            certificate = identity.certificate.display(),
            key = identity.key.display(),
            ca = authority.certificate().display(),
        );
        fs::write(&config, text).expect("the room can be written");
        let daemon = start_pool(&config);
        Pool { daemon, name: name.to_owned(), config, root, data, admin, grpc }
    }

    /// Its numbers.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics::of(&format!("http://{}", self.admin))
    }

    /// Starts it again after it has ended.
    pub fn start_again(&mut self) {
        self.daemon = start_pool(&self.config);
    }
}

/// What an admin does once: keys for tokens, and the first of these.
pub fn make_keys(door_config: &Path, token: &Path) {
    let mut command = Command::new(binary("penstock-door"));
    command.arg("--config").arg(door_config).arg("--init-token").arg(token);
    let mut daemon = Daemon::spawn("penstock-door --init-token", &mut command);
    assert!(daemon.ended().success(), "{}", daemon.stderr());
}

/// Starts a door and waits until its port answers.
pub(crate) fn start_door(config: &Path) -> Daemon {
    start_door_in(config, Vec::new())
}

/// The same with more variables in its environment.
pub(crate) fn start_door_in(config: &Path, environment: Vec<(&'static str, PathBuf)>) -> Daemon {
    let mut command = Command::new(binary("penstock-door"));
    let mut daemon = Daemon::spawn("penstock-door", command.arg("--config").arg(config).envs(environment));
    let _ = daemon.line(DOOR_READY);
    daemon
}

fn door_config(
    room: &Room,
    listen: SocketAddr,
    names: &str,
    pools: &[Pool],
    authority: &Authority,
    identity: &Identity,
) -> PathBuf {
    let mut text = format!(
        "name = \"door01\"\n\
         listen = \"{listen}\"\n\
         anonymous = \"write\"\n\
         namespace = \"{names}\"\n\
         macaroon_keys = \"{}\"\n",
        room.join("macaroon.keys").display(),
    );
    for pool in pools {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "[[pools]]\n\
             name = \"{}\"\n\
             address = \"localhost:{}\"\n\
             tls = {{ ca = \"{}\", cert = \"{}\", key = \"{}\" }}\n",
            pool.name,
            pool.grpc.port(),
            authority.certificate().display(),
            identity.certificate.display(),
            identity.key.display(),
        );
    }
    let path = room.join("door.toml");
    fs::write(&path, text).expect("the room can be written");
    path
}
