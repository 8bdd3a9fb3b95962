//! A door that speaks https, with authorities for its clients, before a pool that does so too.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::certificates::{Authority, Identity};
use crate::cluster::{make_keys, start_door_in};
use crate::curl::Curl;
use crate::daemon::Daemon;
use crate::lone_pool::LonePool;
use crate::patience::eventually;
use crate::ports;
use crate::room::Room;

/// What the site is to be like.
#[derive(Debug, Default)]
pub struct Plan {
    top: String,
    tables: String,
    tls: String,
    pool: String,
    environment: Vec<(&'static str, PathBuf)>,
    plain: bool,
    joined_by_plain_http: bool,
}

/// Both, as two processes.
pub struct SecureSite {
    /// The door.
    pub door: Daemon,
    /// The pool.
    pub pool: LonePool,
    /// Where the pool speaks https.
    pub pool_tls: SocketAddr,
    /// The bearer token that allows everything.
    pub token: String,
    /// Whom everybody believes.
    pub authority: Authority,
    /// The door's certificate.
    pub identity: Identity,
    tls_address: SocketAddr,
    plain_address: SocketAddr,
    environment: Vec<(&'static str, PathBuf)>,
    joined_by_plain_http: bool,
    room: Room,
}

impl Plan {
    /// https only.
    #[must_use]
    pub fn new() -> Plan {
        Plan::default()
    }

    /// Plain HTTP as well.
    #[must_use]
    pub fn plain(mut self) -> Plan {
        self.plain = true;
        self
    }

    /// Whether the door has found the pool is found out by plain HTTP, where bytes by https would not get through yet.
    #[must_use]
    pub fn joined_by_plain_http(mut self) -> Plan {
        self.joined_by_plain_http = true;
        self
    }

    /// More lines at the top of the door's configuration.
    #[must_use]
    pub fn top(mut self, lines: &str) -> Plan {
        self.top.push_str(lines);
        self
    }

    /// More lines of its table `[tls]`.
    #[must_use]
    pub fn tls(mut self, lines: &str) -> Plan {
        self.tls.push_str(lines);
        self
    }

    /// More lines of the pool's configuration.
    #[must_use]
    pub fn pool(mut self, lines: &str) -> Plan {
        self.pool.push_str(lines);
        self
    }

    /// Variables in the door's environment.
    #[must_use]
    pub fn environment(mut self, variables: Vec<(&'static str, PathBuf)>) -> Plan {
        self.environment = variables;
        self
    }

    /// More tables.
    #[must_use]
    pub fn tables(mut self, lines: &str) -> Plan {
        self.tables.push_str(lines);
        self
    }

    /// Starts it in a room, where the story may have put files for it.
    #[must_use]
    pub fn start_in(self, room: Room) -> SecureSite {
        let authority = Authority::new(room.path(), "site");
        let identity = authority.issue("door");
        let (pool, pool_tls) = LonePool::start_secured(&authority.issue("pool"), &self.pool);
        let [plain_address, tls_address] = ports::free();
        let config = room.join("door.toml");
        let mut text = String::from("name = \"door01\"\n");
        if self.plain {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "listen = \"{plain_address}\"");
        }
        let _ = write!(
            text,
            "namespace = \"{}\"\n\
             macaroon_keys = \"{}\"\n\
             {}\
             [tls]\n\
             listen = \"{tls_address}\"\n\
             cert = \"{}\"\n\
             key = \"{}\"\n\
             {}\
             {}\
             [[pools]]\n\
             name = \"pool01\"\n\
             socket = \"{}\"\n",
            room.join("namespace.db").display(),
            room.join("macaroon.keys").display(),
            self.top,
            identity.certificate.display(),
            identity.key.display(),
            self.tls,
            self.tables,
            pool.socket().display(),
        );
        fs::write(&config, text).expect("the room can be written");
        let token = room.join("token");
        make_keys(&config, &token);
        let token = fs::read_to_string(token).expect("a token was made").trim().to_owned();
        let door = start_door_in(&config, self.environment.clone());
        let site = SecureSite {
            door,
            pool,
            pool_tls,
            token,
            authority,
            identity,
            tls_address,
            plain_address,
            environment: self.environment,
            joined_by_plain_http: self.joined_by_plain_http,
            room,
        };
        site.wait_until_joined();
        site
    }

    /// Starts it in a room of its own.
    #[must_use]
    pub fn start(self) -> SecureSite {
        self.start_in(Room::new())
    }
}

impl SecureSite {
    /// The directory of everything.
    #[must_use]
    pub fn room(&self) -> &Path {
        self.room.path()
    }

    /// The door's configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.room.join("door.toml")
    }

    /// Where the door speaks https.
    #[must_use]
    pub fn tls_address(&self) -> SocketAddr {
        self.tls_address
    }

    /// Where the door speaks plain HTTP, if it does.
    #[must_use]
    pub fn plain_address(&self) -> SocketAddr {
        self.plain_address
    }

    /// The URL of a path at the door, by https.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.tls_address.port())
    }

    /// curl at a path of the door, by https, without any credentials.
    #[must_use]
    pub fn stranger(&self, path: &str) -> Curl {
        Curl::new(self.url(path)).arg("--cacert").arg(self.authority.certificate())
    }

    /// The same with the token.
    #[must_use]
    pub fn curl(&self, path: &str) -> Curl {
        self.stranger(path).token(Some(&self.token))
    }

    /// Ends the door, whatever it still waits for, and starts it again with what is on the disk now.
    pub fn restart_door(&mut self) {
        self.door.terminate();
        eventually("the door drains", || self.door.stderr().contains("draining").then_some(()));
        self.door.terminate();
        let _ = self.door.ended();
        self.door = start_door_in(&self.config(), self.environment.clone());
        self.wait_until_joined();
    }

    /// Waits until the door has found the pool: an upload goes through. It is deleted again.
    fn wait_until_joined(&self) {
        let probe = self.config();
        let plain = format!("http://{}/.probe", self.plain_address);
        let curl = || {
            let by_plain_http = self.joined_by_plain_http;
            if by_plain_http { Curl::new(&plain).token(Some(&self.token)) } else { self.curl("/.probe") }
        };
        eventually("the door has found the pool", || {
            (curl().follow().upload(&probe).run().status / 100 == 2).then_some(())
        });
        let _ = self.curl("/.probe").method("DELETE").run().expect(204);
    }
}
