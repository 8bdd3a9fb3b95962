//! The door as its service manager sees it: started from a file, reloaded from it, drained, ended.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use penstock_door::{Config, Door, RunningDoor};
use penstock_service::{Daemon, Log, activation};

/// A running door, and where its configuration came from.
pub struct DoorDaemon {
    door: RunningDoor,
    file: PathBuf,
    log: Log,
}

impl DoorDaemon {
    /// Starts it: on the sockets of the service manager if it has opened some, else on its own.
    pub async fn start(file: PathBuf, config: Config, log: Log) -> anyhow::Result<Self> {
        let listeners = activation::take_listeners().context("socket activation")?;
        if !listeners.is_empty() {
            tracing::info!(
                sockets = listeners.len(),
                "the service manager has opened the sockets: listen is not used"
            );
        }
        Ok(Self { door: Door::start_on(config, listeners).await?, file, log })
    }

    /// What whoever waits for the door wants to know.
    pub fn ready_line(&self) -> String {
        format!("penstock-door ready: http://{}", self.door.address())
    }
}

impl Daemon for DoorDaemon {
    fn status(&self) -> String {
        self.door.status_line()
    }

    fn stuck(&self, _: Duration) -> Option<String> {
        self.door.stuck()
    }

    async fn reload(&self) {
        let config = match Config::load(&self.file) {
            Ok(config) => config,
            Err(error) => {
                tracing::error!(%error, "the configuration is not used, the old one stays");
                return;
            }
        };
        let filter = config.log.clone();
        match self.door.reload(config).await {
            Ok(()) => self.log.follow(filter.as_ref()),
            Err(error) => tracing::error!(%error, "the configuration is not used, the old one stays"),
        }
    }

    fn drain_time(&self) -> Duration {
        self.door.drain_time()
    }

    async fn drain(&self, limit: Duration) -> usize {
        self.door.drain(limit).await
    }

    async fn stop(self) {
        let left = self.door.transfers();
        if left > 0 {
            tracing::warn!(transfers = left, "transfers still run; they are settled after the next start");
        }
        self.door.stop().await;
    }
}
