//! The site: one pool and one door, joined by a Unix socket in the data directory.
//!
//! ```text
//! DIR/token        the first token, for everything; mode 0600
//! DIR/keys         what tokens are signed with; mode 0600
//! DIR/names.sqlite the namespace
//! DIR/grpc.sock    where the door gives work to the pool
//! DIR/pool/        the files
//! ```

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use penstock_door::{Door, PoolAccess, PoolConfig, RunningDoor};
use penstock_pool::config::{Config as PoolSettings, GrpcEndpoint};
use penstock_pool::control::daemon::{Pool, RunningPool};

use crate::settings::Settings;

/// The one pool's name.
const POOL_NAME: &str = "pool";
/// How long the door may take to find the pool in its own process.
const MEETING_TIME: Duration = Duration::from_secs(10);

/// A running site.
#[derive(Debug)]
pub struct Site {
    door: RunningDoor,
    pool: RunningPool,
    token: PathBuf,
    door_url: String,
}

impl Site {
    /// Starts pool and door. When this returns, all ports answer and the door knows the pool.
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        let data = settings.absolute_data()?;
        make_private_directory(&data)?;

        let pool = Pool::start(pool_settings(&settings, &data)).await?;
        match start_door(&settings, &data).await {
            Ok((door, door_url)) => {
                // One admin port tells of both.
                pool.metrics().register(|registry| door.metrics().register(registry));
                Ok(Self { door, pool, token: settings.data.join("token"), door_url })
            }
            Err(error) => {
                pool.stop().await;
                Err(error)
            }
        }
    }

    /// Goes by other settings as far as that is possible without a start.
    pub async fn reload(&self, settings: &Settings) -> anyhow::Result<()> {
        let data = settings.absolute_data()?;
        self.door.reload(door_settings(settings, &data)?).await?;
        self.pool.reconfigure(&pool_settings(settings, &data));
        self.pool.reload().await;
        Ok(())
    }

    /// How it is, in one line.
    pub fn status_line(&self) -> String {
        format!("pool: {}. door: {}", self.pool.status_line(), self.door.status_line())
    }

    /// What has not turned for so long although it should.
    pub fn stuck(&self, limit: Duration) -> Option<String> {
        self.pool.stuck(limit).or_else(|| self.door.stuck(limit))
    }

    /// Where users come to.
    pub fn door_url(&self) -> &str {
        &self.door_url
    }

    /// Where the bytes flow.
    pub fn pool_addr(&self) -> SocketAddr {
        self.pool.data_addr()
    }

    /// Where admins come to.
    pub fn admin_addr(&self) -> SocketAddr {
        self.pool.admin_addr()
    }

    /// The file with the first token, below the data directory as it was given.
    pub fn token(&self) -> &Path {
        &self.token
    }

    /// Takes nothing new and waits for what runs, at most `deadline`. Gives how many transfers still run then.
    pub async fn drain(&self, deadline: Duration) -> usize {
        // Together: the door waits for its transfers, which the pool brings to their end.
        let (of_door, of_pool) = tokio::join!(self.door.drain(deadline), self.pool.drain(deadline));
        of_door.max(of_pool)
    }

    /// Ends at once.
    pub async fn stop(self) {
        self.door.stop().await;
        self.pool.stop().await;
    }
}

fn make_private_directory(path: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("--data: cannot make the directory {}", path.display()))
}

/// Where the door finds the pool.
pub fn socket(data: &Path) -> PathBuf {
    data.join("grpc.sock")
}

/// What the pool runs with.
pub fn pool_settings(settings: &Settings, data: &Path) -> PoolSettings {
    let mut config = PoolSettings::new(POOL_NAME, data.join("pool"));
    config.data_listen = settings.pool_listen;
    config.data_advertise = settings.pool_advertise.clone();
    config.admin_listen = settings.admin_listen;
    config.grpc = GrpcEndpoint::Socket(socket(data));
    config.capacity = settings.capacity;
    config.reserve_bytes = settings.reserve_bytes;
    config.max_file_size = settings.max_file_size;
    config.checksums = settings.checksums.iter().map(|name| name.0).collect();
    config.timeouts.drain = settings.drain;
    config.marking = settings.marking.pool.clone();
    // Who tries it on one machine has the other side there as well; what others reach must not lead them inside.
    config.tpc.rules.loopback = settings.listen.ip().is_loopback();
    config
}

/// What the door runs with.
pub fn door_settings(settings: &Settings, data: &Path) -> anyhow::Result<penstock_door::Config> {
    let name = POOL_NAME.parse().map_err(anyhow::Error::msg)?;
    let pool = PoolConfig { name, access: PoolAccess::Socket(socket(data)) };
    let mut config = penstock_door::Config::new(data.join("names.sqlite"), data.join("keys"), vec![pool]);
    config.listen = Some(settings.listen);
    config.url = settings.url.clone();
    config.anonymous = settings.anonymous;
    config.create_parents = settings.create_parents;
    config.marking = settings.marking.rules.clone();
    // As the pool does it: both ends of a first copy are this one machine mostly.
    config.copy.allow_loopback = settings.listen.ip().is_loopback();
    Ok(config)
}

async fn start_door(settings: &Settings, data: &Path) -> anyhow::Result<(RunningDoor, String)> {
    let url = settings.url.as_ref().map(|url| url.as_str().to_owned());
    let location = url.clone().unwrap_or_else(|| format!("http://{}", settings.listen));
    penstock_door::init_first_token(&data.join("token"), &data.join("keys"), &location)?;
    let door = Door::start(door_settings(settings, data)?).await?;
    if !door.wait_for_pools(MEETING_TIME).await {
        let pools_are_silent = format!("the door did not find its pool within {} s", MEETING_TIME.as_secs());
        door.stop().await;
        anyhow::bail!(pools_are_silent);
    }
    let door_url = url.unwrap_or_else(|| format!("http://{}", door.address()));
    Ok((door, door_url))
}
