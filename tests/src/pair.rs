//! A pool and a door as two processes, joined by a Unix socket: each can die alone.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::cluster::{make_keys, start_door};
use crate::curl::{Answer, Curl};
use crate::daemon::Daemon;
use crate::lone_pool::LonePool;
use crate::patience::eventually;
use crate::ports;
use crate::room::Room;

/// Both, on ports that stay the same when they are started again.
pub struct Pair {
    /// The door's process.
    pub door: Daemon,
    /// The pool.
    pub pool: LonePool,
    /// The bearer token that allows everything.
    pub token: String,
    door_address: SocketAddr,
    directory: PathBuf,
    // Goes with the pair when the story has given no directory.
    _room: Option<Room>,
}

impl Pair {
    /// Starts both, with more lines in the pool's configuration.
    #[must_use]
    pub fn start(more: &str) -> Pair {
        let room = Room::new();
        let root = room.join("pool");
        Self::start_in_room(room, &root, more)
    }

    /// The same with more lines in the door's configuration, too.
    #[must_use]
    pub fn start_with_door(pool: &str, door: &str) -> Pair {
        let room = Room::new();
        let root = room.join("pool");
        let mut pair = Self::start_both(room.path(), &root, pool, door);
        pair._room = Some(room);
        pair
    }

    /// The same with the pool's root elsewhere: on a disk that fails, say.
    #[must_use]
    pub fn start_with_root(root: &Path, more: &str) -> Pair {
        Self::start_in_room(Room::new(), root, more)
    }

    fn start_in_room(room: Room, root: &Path, more: &str) -> Pair {
        let mut pair = Self::start_in(room.path(), root, more);
        pair._room = Some(room);
        pair
    }

    /// Starts both with this root, and all else that they keep in this directory, which is made.
    #[must_use]
    pub fn start_in(directory: &Path, root: &Path, more: &str) -> Pair {
        Self::start_both(directory, root, more, "")
    }

    fn start_both(directory: &Path, root: &Path, more: &str, door_more: &str) -> Pair {
        fs::create_dir_all(directory).expect("the directory can be made");
        let pool = LonePool::start_at(root, directory, more);
        let [door_address] = ports::free();
        let config = directory.join("door.toml");
        let text = format!(
            "name = \"door01\"\n\
             listen = \"{door_address}\"\n\
             namespace = \"{}\"\n\
             macaroon_keys = \"{}\"\n\
             copy.allow_loopback = true\n\
             timeouts.drain = \"10 s\"\n\
             {door_more}\
             [[pools]]\n\
             name = \"pool01\"\n\
             socket = \"{}\"\n",
            directory.join("namespace.db").display(),
            directory.join("macaroon.keys").display(),
            pool.socket().display(),
        );
        fs::write(&config, text).expect("the directory can be written");
        let token = directory.join("token");
        make_keys(&config, &token);
        let token = fs::read_to_string(token).expect("a token was made").trim().to_owned();
        let door = start_door(&config);
        let pair = Pair { door, pool, token, door_address, directory: directory.to_owned(), _room: None };
        pair.wait_until_joined();
        pair
    }

    /// Where the door listens.
    #[must_use]
    pub fn door_address(&self) -> SocketAddr {
        self.door_address
    }

    /// The directory of everything.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Uploads as `curl -L -T FILE` does.
    #[must_use]
    pub fn put(&self, path: &str, file: &Path) -> Answer {
        self.curl(path).follow().upload(file).run()
    }

    /// Downloads, following redirects.
    #[must_use]
    pub fn get(&self, path: &str) -> Answer {
        self.curl(path).follow().run()
    }

    /// curl at a path of the door, with the token.
    #[must_use]
    pub fn curl(&self, path: &str) -> Curl {
        Curl::new(format!("http://{}{path}", self.door_address)).token(Some(&self.token))
    }

    /// Kills the door as a crash would.
    pub fn kill_door(&mut self) {
        self.door.signal(Signal::KILL);
        let _ = self.door.ended();
    }

    /// Starts the door after it has ended.
    pub fn start_door_again(&mut self) {
        self.door = start_door(&self.directory.join("door.toml"));
    }

    /// Waits until the door has found the pool: an upload goes through. It is deleted again.
    pub fn wait_until_joined(&self) {
        let probe = self.directory.join("door.toml");
        eventually("the door has found the pool", || {
            (self.curl("/.probe").follow().upload(&probe).run().status / 100 == 2).then_some(())
        });
        let _ = self.curl("/.probe").method("DELETE").run().expect(204);
    }
}
