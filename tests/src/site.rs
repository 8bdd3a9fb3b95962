//! `penstock serve` on free ports, with data of its own.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::admin::{self, Outcome};
use crate::binaries::binary;
use crate::curl::{Answer, Curl};
use crate::daemon::Daemon;
use crate::metrics::Metrics;
use crate::pool_client::PoolClient;
use crate::room::Room;

/// What the directories of a few files take at most; a story's files are larger.
pub const DIRECTORIES_BYTES: f64 = 500_000.0;

/// What a site is to be like.
#[derive(Debug, Default)]
pub struct Plan {
    arguments: Vec<OsString>,
    config: Option<String>,
    wrapper: Vec<OsString>,
    program: Option<PathBuf>,
    data: Option<PathBuf>,
    room: Option<Room>,
}

/// A running site: door and pool in one process.
pub struct Site {
    /// The process.
    pub daemon: Daemon,
    /// The door, `http://127.0.0.1:PORT`.
    pub door: String,
    /// The pool's data port.
    pub pool: String,
    /// The admin port.
    pub admin: String,
    /// The bearer token of the first start.
    pub token: String,
    data: PathBuf,
    config: Option<String>,
    room: Room,
}

impl Plan {
    /// The defaults.
    #[must_use]
    pub fn new() -> Plan {
        Plan::default()
    }

    /// Another argument of `penstock serve`.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Plan {
        self.arguments.push(argument.into());
        self
    }

    /// `--anonymous none|read|write`.
    #[must_use]
    pub fn anonymous(self, level: &str) -> Plan {
        self.argument("--anonymous").argument(level)
    }

    /// `--config FILE` with this text.
    #[must_use]
    pub fn config(mut self, text: &str) -> Plan {
        self.config = Some(text.to_owned());
        self
    }

    /// A command that runs it (`setpriv …`).
    #[must_use]
    pub fn through(mut self, wrapper: impl IntoIterator<Item = String>) -> Plan {
        self.wrapper = wrapper.into_iter().map(Into::into).collect();
        self
    }

    /// Another executable than the built one (a copy where other users can run it).
    #[must_use]
    pub fn program(mut self, program: PathBuf) -> Plan {
        self.program = Some(program);
        self
    }

    /// `--data DIR` elsewhere than in the room.
    #[must_use]
    pub fn data(mut self, directory: PathBuf) -> Plan {
        self.data = Some(directory);
        self
    }

    /// A directory of its own choice.
    #[must_use]
    pub fn room(mut self, room: Room) -> Plan {
        self.room = Some(room);
        self
    }

    /// Starts it and waits until all ports answer.
    #[must_use]
    pub fn start(self) -> Site {
        let (data, config) = (self.data.clone(), self.config.clone());
        let (room, mut daemon) = self.spawn();
        let ready = daemon.line("penstock ready: ");
        let place = |key: &str| -> String {
            ready
                .split(' ')
                .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
                .unwrap_or_else(|| panic!("the ready line has no {key}: {ready}"))
                .to_owned()
        };
        let token = std::fs::read_to_string(place("token")).expect("the first start has written a token");
        Site {
            door: place("door"),
            pool: place("pool"),
            admin: place("admin"),
            token: token.trim().to_owned(),
            daemon,
            data: data.unwrap_or_else(|| room.join("data")),
            config,
            room,
        }
    }

    /// Starts it without waiting, for stories in which it does not come up.
    #[must_use]
    pub fn spawn(mut self) -> (Room, Daemon) {
        let room = self.room.take().unwrap_or_default();
        let mut words = std::mem::take(&mut self.wrapper);
        words.push(self.program.take().unwrap_or_else(|| binary("penstock")).into());
        words.extend(["serve", "--data"].map(Into::into));
        words.push(self.data.take().unwrap_or_else(|| room.join("data")).into());
        for option in ["--listen", "--pool-listen", "--admin-listen"] {
            if !self.arguments.iter().any(|argument| argument == option) {
                words.extend([option, "127.0.0.1:0"].map(Into::into));
            }
        }
        if let Some(text) = &self.config {
            let path = room.join("penstock.toml");
            std::fs::write(&path, text).expect("the room can be written");
            words.push("--config".into());
            words.push(path.into());
        }
        words.append(&mut self.arguments);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(room.path());
        let daemon = Daemon::spawn("penstock", &mut command);
        (room, daemon)
    }
}

impl Site {
    /// One with the defaults.
    #[must_use]
    pub fn start() -> Site {
        Plan::new().start()
    }

    /// Where its files are.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The story's own directory.
    #[must_use]
    pub fn room(&self) -> &Path {
        self.room.path()
    }

    /// Where the door listens.
    #[must_use]
    pub fn door_address(&self) -> SocketAddr {
        address(&self.door)
    }

    /// Where the data port listens.
    #[must_use]
    pub fn pool_address(&self) -> SocketAddr {
        address(&self.pool)
    }

    /// The URL of a path at the door.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.door)
    }

    /// curl at a path of the door, with the token.
    #[must_use]
    pub fn curl(&self, path: &str) -> Curl {
        Curl::new(self.url(path)).token(Some(&self.token))
    }

    /// Downloads, following redirects.
    #[must_use]
    pub fn get(&self, path: &str) -> Answer {
        self.curl(path).follow().run()
    }

    /// Uploads as `curl -L -T FILE` does.
    #[must_use]
    pub fn put(&self, path: &str, file: &Path) -> Answer {
        self.curl(path).follow().upload(file).run()
    }

    /// The URL at the data port that the door sends a download to.
    #[must_use]
    pub fn download_url(&self, path: &str) -> String {
        self.curl(path).run().expect(307).redirect_url
    }

    /// The URL at the data port that the door sends an upload of that size to. The upload itself is not made.
    #[must_use]
    pub fn upload_url(&self, path: &str, size: u64) -> String {
        upload_url(self.door_address(), path, size, Some(&self.token))
    }

    /// Bytes of space: "total", "used", "reserved" or "available".
    #[must_use]
    pub fn space(&self, part: &str) -> f64 {
        self.metrics().sum_where("penstock_space_bytes", &format!("part=\"{part}\""))
    }

    /// Whether nothing is stored or being stored; directories of files that were there may remain.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        crate::files::replicas(&self.data).is_empty()
            && self.space("reserved") == 0.0
            && self.space("used") < DIRECTORIES_BYTES
    }

    /// Its numbers.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics::of(&self.admin)
    }

    /// Where the door gives work to the pool, and admins ask it.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.data.join("grpc.sock")
    }

    /// A door's connection to the pool.
    #[must_use]
    pub fn pool_client(&self) -> PoolClient {
        PoolClient::connect(&self.socket())
    }

    /// Runs `penstock-pool WORDS…` at its pool.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Outcome {
        admin::at_socket(&self.socket(), words)
    }

    /// Ends it by SIGTERM, if it has not ended, and starts another on the same data with the same configuration.
    #[must_use]
    pub fn restart(mut self) -> Site {
        self.stop();
        self.start_again()
    }

    /// Kills it as a crash would and starts another on the same data with the same configuration.
    #[must_use]
    pub fn crash_and_restart(mut self) -> Site {
        self.kill();
        self.start_again()
    }

    /// Ends it by SIGTERM, if it has not ended.
    pub fn stop(&mut self) {
        if self.daemon.runs() {
            self.daemon.terminate();
            let status = self.daemon.ended();
            assert!(status.success(), "penstock ended with {status}:\n{}", self.daemon.stderr());
        }
    }

    /// Kills it as a crash would.
    pub fn kill(&mut self) {
        self.daemon.signal(rustix::process::Signal::KILL);
        let _ = self.daemon.ended();
    }

    /// Starts another on the same data with the same configuration, after it has ended.
    #[must_use]
    pub fn start_again(self) -> Site {
        let plan = Plan { config: self.config, ..Plan::new().data(self.data).room(self.room) };
        plan.start()
    }
}

/// Asks a door for an upload as a client does that waits with the body, and goes away with the redirect.
#[must_use]
pub fn upload_url(door: SocketAddr, path: &str, size: u64, token: Option<&str>) -> String {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let mut client = crate::raw::Raw::connect(door);
    client.send(format!(
        "PUT {path} HTTP/1.1\r\nHost: {door}\r\n{authorization}Content-Length: {size}\r\nExpect: 100-continue\r\n\r\n"
    ));
    let answer = client.answer();
    assert_eq!(answer.status, 307, "{}{}", answer.head, answer.text());
    answer.header("Location").expect("a redirect has a Location").to_owned()
}

/// The address in `http://ADDRESS`.
#[must_use]
pub fn address(url: &str) -> SocketAddr {
    url.strip_prefix("http://")
        .and_then(|rest| rest.parse().ok())
        .unwrap_or_else(|| panic!("no address in {url}"))
}

/// What follows the address in a URL: the target of a request line.
#[must_use]
pub fn target(url: &str) -> &str {
    let rest = url.strip_prefix("http://").unwrap_or_else(|| panic!("no HTTP URL: {url}"));
    rest.find('/').map_or("/", |start| &rest[start..])
}
