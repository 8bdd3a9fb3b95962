//! A pool without a door, which a story commands itself over its socket, or as an admin does.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use penstock_door_proto::v1 as proto;
use rustix::process::Signal;

use crate::admin::{self, Outcome};
use crate::binaries::binary;
use crate::certificates::Identity;
use crate::daemon::Daemon;
use crate::metrics::Metrics;
use crate::patience::eventually;
use crate::pool_client::PoolClient;
use crate::ports;
use crate::raw::Raw;
use crate::room::Room;
use crate::site::target;

/// What a pool says on stdout once all its ports answer.
const READY: &str = "penstock-pool ready: ";

/// A pool on ports that stay the same when it is started again.
pub struct LonePool {
    /// Its process.
    pub daemon: Daemon,
    /// Its configuration file.
    pub config: PathBuf,
    /// Where clients come to.
    pub data: SocketAddr,
    /// Where its numbers are.
    pub admin: SocketAddr,
    root: PathBuf,
    socket: PathBuf,
    // Goes with the pool when the story has given no directory.
    _room: Option<Room>,
}

impl LonePool {
    /// Sends an upload to a URL of this pool's and leaves the connection open for its answer.
    #[must_use]
    pub fn send_upload(&self, url: &str, body: &[u8]) -> Raw {
        let mut client = Raw::connect(self.data);
        client.send(format!(
            "PUT {} HTTP/1.1\r\nHost: pool\r\nContent-Length: {}\r\n\r\n",
            target(url),
            body.len()
        ));
        client.send(body);
        client
    }

    /// Starts one, with more lines in its configuration.
    #[must_use]
    pub fn start(more: &str) -> LonePool {
        let room = Room::new();
        let mut pool = Self::start_at(&room.join("pool"), room.path(), more);
        pool._room = Some(room);
        pool
    }

    /// Starts one that speaks TLS as well. Gives the address of that, too.
    #[must_use]
    pub fn start_secured(identity: &Identity, more: &str) -> (LonePool, SocketAddr) {
        let room = Room::new();
        let [tls] = ports::free();
        let keys = format!(
            "cert = \"{}\"\nkey = \"{}\"\ntls_listen = \"{tls}\"\ntls_advertise = \"localhost:{}\"\n",
            identity.certificate.display(),
            identity.key.display(),
            tls.port()
        );
        let mut pool = Self::start_with(&room.join("pool"), room.path(), more, &keys);
        pool._room = Some(room);
        (pool, tls)
    }

    /// Starts one with this root, whose configuration is in that directory.
    #[must_use]
    pub fn start_at(root: &Path, directory: &Path, more: &str) -> LonePool {
        Self::start_with(root, directory, more, "")
    }

    /// The same with more lines on the data port.
    fn start_with(root: &Path, directory: &Path, more: &str, data_keys: &str) -> LonePool {
        let [data, admin] = ports::free();
        // Not in the root: a story's disk may be too full for it.
        let (config, socket) = (directory.join("pool.toml"), directory.join("grpc.sock"));
        // Little, so that many can run beside each other, unless the story says how much.
        let buffers = if more.contains("buffer_memory") { "" } else { "buffer_memory = \"16 MiB\"\n" };
        let text = format!(
            "name = \"pool01\"\nroot = \"{}\"\n{buffers}reserve = 0\n{more}[data]\nlisten = \"{data}\"\n\
             {data_keys}[admin]\nlisten = \"{admin}\"\n[grpc]\nsocket = \"{}\"\n",
            root.display(),
            socket.display()
        );
        fs::write(&config, text).expect("the directory can be written");
        LonePool {
            daemon: start_pool(&config),
            config,
            data,
            admin,
            root: root.to_owned(),
            socket,
            _room: None,
        }
    }

    /// Where its replicas are.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.root.clone()
    }

    /// Where doors come to.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    /// A door's connection to it.
    #[must_use]
    pub fn client(&self) -> PoolClient {
        PoolClient::connect(&self.socket())
    }

    /// Its numbers.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics::of(&format!("http://{}", self.admin))
    }

    /// Runs `penstock-pool WORDS…` at its socket.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Outcome {
        admin::at_socket(&self.socket(), words)
    }

    /// One replica as it tells of it.
    #[must_use]
    pub fn replica(&self, id: &str) -> proto::ReplicaInfo {
        self.client().replica(id)
    }

    /// Ends it by SIGTERM.
    pub fn stop(&mut self) {
        self.daemon.terminate();
        let status = self.daemon.ended();
        assert!(status.success(), "penstock-pool ended with {status}:\n{}", self.daemon.stderr());
    }

    /// Kills it as a crash would.
    pub fn kill(&mut self) {
        self.daemon.signal(Signal::KILL);
        let _ = self.daemon.ended();
    }

    /// Starts it after it has ended.
    pub fn start_again(&mut self) {
        // The kernel closes the sockets of a killed process's rings a moment after the process has gone.
        eventually("the pool's port is free", || TcpListener::bind(self.data).ok().map(drop));
        self.daemon = start_pool(&self.config);
    }
}

/// Starts a pool and waits until all its ports answer.
pub(crate) fn start_pool(config: &Path) -> Daemon {
    let mut daemon =
        Daemon::spawn("penstock-pool", Command::new(binary("penstock-pool")).arg("--config").arg(config));
    let _ = daemon.line(READY);
    daemon
}
