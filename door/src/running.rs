//! Starting a door, and stopping it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use penstock_door_proto::v1 as proto;
use tokio::net::TcpListener;

use crate::auth::Authenticator;
use crate::auth::keys::{KeyError, KeyRing};
use crate::config::{Config, ConfigError};
use crate::http::Service;
use crate::http::admin::{self, AdminPort};
use crate::http::server::{self, Ending};
use crate::metrics::Metrics;
use crate::namespace::{Namespace, NamespaceError};
use crate::pools::{ConnectError, Pools};
use crate::transfers::{TransferRules, Transfers};

/// How often a draining door looks whether its transfers have ended.
const DRAIN_LOOK: Duration = Duration::from_millis(50);

/// Why a door does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The macaroon keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The pools' certificates.
    #[error(transparent)]
    Pools(#[from] ConnectError),
    /// The namespace.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The address.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// A door that does not run yet.
#[derive(Debug)]
pub struct Door;

impl Door {
    /// Checks all that can be checked without opening or binding anything. Needs a runtime, as the channels do.
    pub fn check(config: &Config) -> Result<(), StartError> {
        Self::prepare(config).map(drop)
    }

    /// Starts a door. It serves when this returns, and finds its pools in the background: see
    /// [`RunningDoor::wait_for_pools`].
    pub async fn start(config: Config) -> Result<RunningDoor, StartError> {
        let (keys, pools) = Self::prepare(&config)?;
        let namespace = Namespace::open(&config.namespace).await?;
        let listen_error = |source| StartError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;
        let admin_listener = match config.admin_listen {
            Some(address) => Some(
                TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })?,
            ),
            None => None,
        };
        let admin_address = admin_listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let own_url = public_url(&config, address);
        let door = proto::DoorIdentity { name: config.name.to_string(), url: own_url.clone() };
        let rules = TransferRules {
            door,
            create_parents: config.create_parents,
            start_timeout: config.timeouts.pool_start.0,
            limit: config.limits.transfers,
            copies: config.copy.transfers,
            marker_period: config.copy.marker_period.0,
        };
        let metrics = Metrics::new();
        let transfers = Transfers::new(namespace.clone(), pools, rules, metrics.clone());
        transfers.keep_pools();
        let service = Arc::new(Service {
            authenticator: Authenticator::new(keys, config.anonymous),
            namespace: namespace.clone(),
            transfers: Arc::clone(&transfers),
            redirect: config.redirect,
            copy: config.copy,
            marking: config.marking,
            limits: config.limits,
            own_url,
            realm: config.name.to_string(),
        });
        let ending = Ending::default();
        if let Some(listener) = admin_listener {
            let port = AdminPort { metrics: metrics.clone(), transfers: Arc::clone(&transfers) };
            // Not among the connections: it is served while the door drains.
            tokio::spawn(admin::serve(listener, port, ending.stop.clone()));
        }
        let head_timeout = config.timeouts.head.0;
        ending.connections.spawn(server::serve(listener, service, head_timeout, ending.clone()));
        tracing::info!(%address, name = config.name.as_str(), "the door is open");
        Ok(RunningDoor { address, admin_address, namespace, transfers, metrics, ending })
    }

    fn prepare(config: &Config) -> Result<(KeyRing, Pools), StartError> {
        config.check()?;
        Ok((KeyRing::load(&config.macaroon_keys)?, Pools::new(&config.pools)?))
    }
}

/// Where pools send lost clients. Nothing, when clients would not get anywhere with it.
fn public_url(config: &Config, address: SocketAddr) -> String {
    match &config.url {
        Some(url) => url.as_str().to_owned(),
        None if address.ip().is_unspecified() => String::new(),
        None => format!("http://{address}"),
    }
}

/// A door that serves.
#[derive(Debug)]
pub struct RunningDoor {
    address: SocketAddr,
    admin_address: Option<SocketAddr>,
    namespace: Namespace,
    transfers: Arc<Transfers>,
    metrics: Metrics,
    ending: Ending,
}

impl RunningDoor {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its admin port listens, if it has one.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// Its metrics, for a process that serves them itself.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Transfers that this door attends now.
    pub fn transfers(&self) -> usize {
        self.transfers.running()
    }

    /// Waits until every pool answers. `false` when they do not within the time.
    pub async fn wait_for_pools(&self, within: Duration) -> bool {
        let all = async {
            for pool in self.transfers.pools().iter() {
                // The sender lives as long as the pool.
                let _ = pool.watch_state().wait_for(|state| state.is_up()).await;
            }
        };
        tokio::time::timeout(within, all).await.is_ok()
    }

    /// Takes no new connection or request, and waits until those that run, and the transfers they began, have ended.
    /// Returns how many transfers are left when the time is over; they are settled after the next start.
    pub async fn drain(&self, within: Duration) -> usize {
        self.ending.drain.cancel();
        self.ending.connections.close();
        let quiet = async {
            self.ending.connections.wait().await;
            while self.transfers.running() > 0 {
                tokio::time::sleep(DRAIN_LOOK).await;
            }
        };
        // What is left is told by the number.
        let _ = tokio::time::timeout(within, quiet).await;
        self.transfers.running()
    }

    /// Ends at once: connections are closed, transfers left to the pools. Nothing is lost: see [`crate::transfers`].
    pub async fn stop(self) {
        self.ending.drain.cancel();
        self.ending.stop.cancel();
        self.ending.connections.close();
        self.ending.connections.wait().await;
        self.transfers.stop().await;
        self.namespace.close().await;
    }
}
