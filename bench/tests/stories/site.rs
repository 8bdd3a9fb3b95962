//! A pool in this process, with a door or without, for the program to measure.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use penstock_door::{Config as DoorConfig, Door, PoolAccess, PoolConfig, RunningDoor, init_first_token};
use penstock_pool::config::{Config, GrpcEndpoint};
use penstock_pool::control::daemon::{Pool, RunningPool};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// How long the door may take to find its pool.
const MEETING_TIME: Duration = Duration::from_secs(30);

/// A running pool with its disk, perhaps behind a door.
pub struct Site {
    runtime: Runtime,
    pool: Option<RunningPool>,
    door: Option<RunningDoor>,
    dir: TempDir,
}

impl Site {
    /// A pool.
    pub fn new() -> Site {
        Self::with(|_, _| {})
    }

    /// A pool with other settings. The directory is for more files.
    pub fn with(change: impl FnOnce(&mut Config, &Path)) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let mut config = Config::new("measured", &root);
        config.data_listen = "127.0.0.1:0".parse().unwrap();
        config.admin_listen = "127.0.0.1:0".parse().unwrap();
        config.grpc = GrpcEndpoint::Socket(dir.path().join("grpc.sock"));
        config.shards = 1;
        change(&mut config, dir.path());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let pool = runtime.block_on(Pool::start(config)).unwrap();
        Site { runtime, pool: Some(pool), door: None, dir }
    }

    /// A pool and a door.
    pub fn with_door() -> Site {
        Self::with_such_a_door(|_| {})
    }

    /// A pool and a door with other settings.
    pub fn with_such_a_door(change: impl FnOnce(&mut DoorConfig)) -> Site {
        let mut site = Self::new();
        let keys = site.dir.path().join("keys");
        init_first_token(&site.token_file(), &keys, "http://door.invalid").unwrap();
        let pool =
            PoolConfig { name: "measured".parse().unwrap(), access: PoolAccess::Socket(site.socket()) };
        let mut config = DoorConfig::new(site.dir.path().join("names.sqlite"), keys, vec![pool]);
        config.listen = Some("127.0.0.1:0".parse().unwrap());
        change(&mut config);
        let door = site.runtime.block_on(async {
            let door = Door::start(config).await.unwrap();
            assert!(door.wait_for_pools(MEETING_TIME).await);
            door
        });
        site.door = Some(door);
        site
    }

    /// Where doors give work to the pool.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("grpc.sock")
    }

    /// The file with the token that allows everything.
    pub fn token_file(&self) -> PathBuf {
        self.dir.path().join("token")
    }

    /// A directory for more files.
    pub fn directory(&self) -> &Path {
        self.dir.path()
    }

    /// Where the door listens.
    pub fn door_address(&self) -> SocketAddr {
        self.door.as_ref().expect("there is a door").address()
    }

    /// The door's URL.
    pub fn door_url(&self) -> String {
        format!("http://{}", self.door_address())
    }

    /// Whatever the door answers to a request without a body, head and all.
    pub fn at_the_door(&self, method: &str, path: &str) -> String {
        let token = std::fs::read_to_string(self.token_file()).unwrap();
        let mut stream = TcpStream::connect(self.door_address()).unwrap();
        let token = token.trim();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: door\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// From now on the pool takes no new transfers.
    pub fn drain_pool(&self) {
        let pool = self.pool.as_ref().expect("there is a pool");
        assert_eq!(self.runtime.block_on(pool.drain(Duration::from_secs(10))), 0, "nothing runs");
    }

    /// Files that have names in the pool's store.
    pub fn replicas(&self) -> Vec<PathBuf> {
        fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    walk(&path, found);
                } else {
                    found.push(path);
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.dir.path().join("root/data"), &mut found);
        found
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(door) = self.door.take() {
            self.runtime.block_on(door.stop());
        }
        if let Some(pool) = self.pool.take() {
            self.runtime.block_on(pool.stop());
        }
    }
}
