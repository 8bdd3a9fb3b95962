//! The pool as its service manager sees it: started from its configuration, reloaded from it, drained, ended.

use std::time::Duration;

use penstock_pool::config::Config;
use penstock_pool::control::daemon::{Pool, RunningPool};
use penstock_service::settings::Sources;
use penstock_service::{Daemon, Log};

/// A running pool, and where its configuration came from.
pub struct PoolDaemon {
    pool: RunningPool,
    sources: Sources,
    log: Log,
}

impl PoolDaemon {
    /// Starts it. When this returns, all its ports answer.
    pub async fn start(sources: Sources, config: Config, log: Log) -> anyhow::Result<Self> {
        Ok(Self { pool: Pool::start(config).await?, sources, log })
    }

    /// What whoever waits for the pool wants to know.
    pub fn ready_line(&self) -> String {
        let pool = &self.pool;
        let secure =
            pool.secure_data_addr().map_or_else(String::new, |address| format!(" tls=https://{address}"));
        format!(
            "penstock-pool ready: data=http://{}{secure} admin=http://{} grpc={}",
            pool.data_addr(),
            pool.admin_addr(),
            pool.grpc_addr()
        )
    }
}

impl Daemon for PoolDaemon {
    fn status(&self) -> String {
        self.pool.status_line()
    }

    fn stuck(&self, limit: Duration) -> Option<String> {
        self.pool.stuck(limit)
    }

    async fn reload(&self) {
        match self.sources.load::<Config>().map(|effective| effective.config) {
            Ok(config) => {
                self.log.follow(config.log.as_ref());
                self.pool.reconfigure(&config);
                self.pool.reload().await;
            }
            Err(error) => tracing::error!(%error, "the configuration is not used, the old one stays"),
        }
    }

    fn drain_time(&self) -> Duration {
        self.pool.config().timeouts.drain
    }

    async fn drain(&self, limit: Duration) -> usize {
        self.pool.drain(limit).await
    }

    async fn stop(self) {
        self.pool.stop().await;
    }
}
