//! The door as its service manager sees it: started from its configuration, reloaded from it, drained, ended.

use std::num::NonZero;
use std::time::Duration;

use anyhow::Context as _;
use penstock_door::http::threads::ConnectionThreads;
use penstock_door::{Config, Door, RunningDoor, Sockets};
use penstock_service::settings::Sources;
use penstock_service::{Daemon, Log, activation};

/// What the unit calls a socket for https (FileDescriptorName=); all others are for plain HTTP.
const HTTPS_SOCKET: &str = "https";

/// Threads for clients' connections: one for each processor. They wait for memory as little as for disks, so that more
/// would only take turns.
fn connection_threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// A running door, and where its configuration came from.
pub struct DoorDaemon {
    door: RunningDoor,
    sources: Sources,
    log: Log,
}

impl DoorDaemon {
    /// Starts it: on the sockets of the service manager if it has opened some, else on its own.
    pub async fn start(sources: Sources, config: Config, log: Log) -> anyhow::Result<Self> {
        let mut sockets = Sockets::default();
        for (name, listener) in activation::take_named_listeners().context("socket activation")? {
            match name.as_str() {
                HTTPS_SOCKET => sockets.secure.push(listener),
                _ => sockets.plain.push(listener),
            }
        }
        if !sockets.plain.is_empty() || !sockets.secure.is_empty() {
            tracing::info!(
                http = sockets.plain.len(),
                https = sockets.secure.len(),
                "the service manager has opened sockets: listen and tls.listen are not used for those"
            );
        }
        let threads = ConnectionThreads::start(connection_threads()).context("cannot start threads")?;
        Ok(Self { door: Door::start_on(config, sockets, threads).await?, sources, log })
    }

    /// What whoever waits for the door wants to know.
    pub fn ready_line(&self) -> String {
        format!("penstock-door ready: {}", self.door.urls().join(" "))
    }
}

impl Daemon for DoorDaemon {
    fn status(&self) -> String {
        self.door.status_line()
    }

    fn stuck(&self, limit: Duration) -> Option<String> {
        self.door.stuck(limit)
    }

    async fn reload(&self) {
        let config = match self.sources.load::<Config>() {
            Ok(effective) => effective.config,
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
