//! The site as its service manager sees it: started from its settings, reloaded from where they came from, drained, ended.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use penstock_service::settings::Sources;
use penstock_service::{Daemon, Log};

use crate::announce;
use crate::settings::Settings;
use crate::site::Site;

/// A running site, and where its settings came from.
pub struct SiteDaemon {
    site: Site,
    sources: Sources,
    drain_time: Mutex<Duration>,
    log: Log,
}

impl SiteDaemon {
    /// Starts it. When this returns, all its ports answer.
    pub async fn start(sources: Sources, settings: Settings, log: Log) -> anyhow::Result<Self> {
        let drain_time = Mutex::new(settings.drain);
        Ok(Self { site: Site::start(settings).await?, sources, drain_time, log })
    }

    /// Says so on standard output.
    pub fn say_ready(&self) {
        if let Err(error) = announce::ready(&self.site, &mut std::io::stdout().lock()) {
            tracing::warn!(%error, "the ready line cannot be written to the standard output");
        }
    }
}

impl Daemon for SiteDaemon {
    fn status(&self) -> String {
        self.site.status_line()
    }

    fn stuck(&self, limit: Duration) -> Option<String> {
        self.site.stuck(limit)
    }

    async fn reload(&self) {
        let reloaded = async {
            let settings = self.sources.load::<Settings>()?.config;
            self.site.reload(&settings).await?;
            anyhow::Ok(settings)
        };
        match reloaded.await {
            Ok(settings) => {
                *self.drain_time.lock().unwrap_or_else(PoisonError::into_inner) = settings.drain;
                self.log.follow(settings.log.as_ref());
            }
            Err(error) => tracing::error!(%error, "the configuration is not used, the old one stays"),
        }
    }

    fn drain_time(&self) -> Duration {
        *self.drain_time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn drain(&self, limit: Duration) -> usize {
        self.site.drain(limit).await
    }

    async fn stop(self) {
        self.site.stop().await;
    }
}
