//! Starting a door, and stopping it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use penstock_door_proto::v1 as proto;
use penstock_service::trace::Tracer;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::auth::Authenticator;
use crate::auth::keys::{KeyError, KeyRing};
use crate::config::{Config, ConfigError, CopyRules, Limits, Timeouts};
use crate::http::Service;
use crate::http::admin::{self, AdminPort};
use crate::http::client_limit::Clients;
use crate::http::current::Current;
use crate::http::server::{self, Ending};
use crate::http::tape::Staged;
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

/// Why a new configuration is not used.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The macaroon keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The pools' certificates.
    #[error(transparent)]
    Pools(#[from] ConnectError),
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
        Self::start_on(config, Vec::new()).await
    }

    /// Starts a door on listeners that somebody has opened for it and that do not block; with none, it opens its own.
    pub async fn start_on(
        config: Config,
        listeners: Vec<std::net::TcpListener>,
    ) -> Result<RunningDoor, StartError> {
        let (keys, pools) = Self::prepare(&config)?;
        let password_file = config.namespace_password_file.as_deref();
        let namespace = Namespace::open(&config.namespace, password_file, &config.name).await?;
        namespace.be_the_only_door_of_its_name().await?;
        let listen_error = |source| StartError::Listen { address: config.listen, source };
        let mut listeners = listeners
            .into_iter()
            .map(TcpListener::from_std)
            .collect::<Result<Vec<_>, _>>()
            .map_err(listen_error)?;
        if listeners.is_empty() {
            listeners.push(TcpListener::bind(config.listen).await.map_err(listen_error)?);
        }
        // The first is what users know; there is one.
        let address = listeners[0].local_addr().map_err(listen_error)?;
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
        pools.iter().for_each(|pool| metrics.know_pool(pool.name()));
        let transfers = Transfers::new(namespace.clone(), pools, rules, metrics.clone());
        transfers.keep_pools();
        let current = Current::new(Service {
            authenticator: Authenticator::new(keys, config.anonymous),
            namespace: namespace.clone(),
            transfers: Arc::clone(&transfers),
            redirect: config.redirect.clone(),
            copy: config.copy.clone(),
            marking: config.marking.clone(),
            limits: config.limits,
            own_url,
            realm: config.name.to_string(),
            lock_timeout: config.timeouts.lock.0,
            digest_patience: config.timeouts.digest.0,
            staged: Arc::new(Staged::default()),
            tracer: Tracer::start("penstock-door", config.name.as_str(), &config.tracing),
        });
        let ending = Ending::default();
        if let Some(listener) = admin_listener {
            let port = AdminPort { metrics: metrics.clone(), transfers: Arc::clone(&transfers) };
            // Not among the connections: it is served while the door drains.
            tokio::spawn(admin::serve(listener, port, ending.stop.clone()));
        }
        let head_timeout = config.timeouts.head.0;
        let permits = Arc::new(Semaphore::new(config.limits.connections as usize));
        let clients = Clients::new(config.limits.connections_per_client);
        let accepting = listeners.into_iter().map(|listener| {
            let (current, permits, clients) =
                (Arc::clone(&current), Arc::clone(&permits), Arc::clone(&clients));
            let serving = server::serve(listener, current, permits, clients, head_timeout, ending.clone());
            ending.connections.spawn(serving)
        });
        let accepting = accepting.collect();
        tracing::info!(%address, name = config.name.as_str(), "the door is open");
        let config = Mutex::new(config);
        Ok(RunningDoor {
            address,
            admin_address,
            namespace,
            transfers,
            metrics,
            ending,
            current,
            config,
            accepting,
        })
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

/// Keys, or their tables, that are not the same.
fn differing(one: &Config, other: &Config) -> Vec<&'static str> {
    let differences = [
        ("name", one.name != other.name),
        ("listen", one.listen != other.listen),
        ("url", one.url != other.url),
        ("namespace", one.namespace != other.namespace),
        ("namespace_password_file", one.namespace_password_file != other.namespace_password_file),
        ("admin_listen", one.admin_listen != other.admin_listen),
        ("create_parents", one.create_parents != other.create_parents),
        ("copy", one.copy != other.copy),
        ("pools (their names)", one.pools != other.pools),
        ("limits", one.limits != other.limits),
        ("timeouts", one.timeouts != other.timeouts),
        ("tracing", one.tracing != other.tracing),
    ];
    let keys: Vec<_> = differences.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect();
    // A key that is missing above still is not passed over in silence.
    if keys.is_empty() && one != other { vec!["another key"] } else { keys }
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
    current: Arc<Current>,
    config: Mutex<Config>,
    /// One for each listener.
    accepting: Vec<JoinHandle<()>>,
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

    /// How it is, in one line: what it attends, and which pools answer.
    pub fn status_line(&self) -> String {
        let pools: Vec<_> = self.transfers.pools().iter().collect();
        let silent: Vec<_> =
            pools.iter().filter(|pool| !pool.state().is_up()).map(|pool| pool.name()).collect();
        let mut line = format!(
            "{} transfers attended; {} of {} pools answer",
            self.transfers(),
            pools.len() - silent.len(),
            pools.len()
        );
        if let [first, others @ ..] = silent.as_slice() {
            line.push_str(&format!("; {first}"));
            if !others.is_empty() {
                line.push_str(&format!(" and {} more", others.len()));
            }
            line.push_str(" cannot be reached");
        }
        if self.ending.drain.is_cancelled() {
            line.push_str("; draining");
        }
        line
    }

    /// What does not turn although it should: nobody accepts connections.
    pub fn stuck(&self) -> Option<String> {
        let ended = self.accepting.iter().any(JoinHandle::is_finished);
        (ended && !self.ending.drain.is_cancelled()).then(|| "nobody accepts connections".to_owned())
    }

    /// Reads keys and certificates again, and goes by another configuration as far as that is possible without a start;
    /// what has to wait for one is said. All of it or, when something is wrong, nothing.
    pub async fn reload(&self, new: Config) -> Result<(), ReloadError> {
        let reading = new.macaroon_keys.clone();
        let keys = tokio::task::spawn_blocking(move || KeyRing::load(&reading)).await;
        // Only the end of the runtime interrupts it.
        let Ok(keys) = keys else { return Ok(()) };
        let authenticator = Authenticator::new(keys?, new.anonymous);
        let other_pools = self.transfers.pools().renew(&new.pools)?;
        let old = self.config().clone();
        let running = Config {
            log: new.log.clone(),
            anonymous: new.anonymous,
            macaroon_keys: new.macaroon_keys.clone(),
            redirect: new.redirect.clone(),
            copy: CopyRules {
                transfers: old.copy.transfers,
                marker_period: old.copy.marker_period,
                ..new.copy.clone()
            },
            limits: Limits { xml_bytes: new.limits.xml_bytes, ..old.limits },
            timeouts: Timeouts {
                drain: new.timeouts.drain,
                digest: new.timeouts.digest,
                lock: new.timeouts.lock,
                ..old.timeouts
            },
            pools: if other_pools { old.pools.clone() } else { new.pools.clone() },
            ..old
        };
        let service = Service {
            authenticator,
            redirect: running.redirect.clone(),
            copy: running.copy.clone(),
            limits: running.limits,
            lock_timeout: running.timeouts.lock.0,
            digest_patience: running.timeouts.digest.0,
            ..Service::clone(&self.current.get())
        };
        self.current.set(service);
        tracing::info!("the configuration was read again");
        let waiting = differing(&running, &new);
        if !waiting.is_empty() {
            tracing::warn!(keys = waiting.join(", "), "these new settings count from the next start on");
        }
        *self.config() = running;
        Ok(())
    }

    /// How long a drain may take.
    pub fn drain_time(&self) -> Duration {
        self.config().timeouts.drain.0
    }

    fn config(&self) -> MutexGuard<'_, Config> {
        // Replaced as a whole.
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
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
