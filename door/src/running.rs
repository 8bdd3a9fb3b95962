//! Starting a door, and stopping it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use penstock_door_proto::v1 as proto;
use penstock_service::records::RecordsError;
use penstock_service::trace::Tracer;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::audit::Audit;
use crate::auth::Authenticator;
use crate::auth::attempts::Attempts;
use crate::auth::password::{PasswordFileError, Passwords};
use crate::auth::setup::SetupError;
use crate::config::{Authentication, Config, ConfigError, CopyRules, Limits, Timeouts};
use crate::delegation::exchange::ExchangeSetupError;
use crate::delegation::{Delegations, Exchanges};
use crate::http::Service;
use crate::http::admin::{self, AdminPort};
use crate::http::current::Current;
use crate::http::server::{self, Bounds, Ending, Port};
use crate::http::tape::Staged;
use crate::http::threads::ConnectionThreads;
use crate::metrics::Metrics;
use crate::namespace::{Namespace, NamespaceError};
use crate::pools::{ConnectError, Pools};
use crate::tls::port::LOOK_PERIOD;
use crate::tls::{DataPorts, SecurePort};
use crate::transfers::{TransferRules, Transfers};

/// What a start waits for pools that are silent.
const FIRST_WORD_LIMIT: Duration = Duration::from_secs(2);
/// How often a draining door looks whether its transfers have ended.
const DRAIN_LOOK: Duration = Duration::from_millis(50);

/// Why a door does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The macaroon keys, the policy, or the authorities of issuers.
    #[error(transparent)]
    Authentication(#[from] SetupError),
    /// The audit.
    #[error(transparent)]
    Audit(#[from] RecordsError),
    /// The exchange of tokens.
    #[error(transparent)]
    Exchange(#[from] ExchangeSetupError),
    /// The pools' certificates.
    #[error(transparent)]
    Pools(#[from] ConnectError),
    /// The door's certificate, or the authorities of clients.
    #[error(transparent)]
    Tls(#[from] penstock_trust::CertificateError),
    /// The password file.
    #[error(transparent)]
    Passwords(#[from] PasswordFileError),
    /// A socket for https came from the service manager, and nothing to serve it with.
    #[error(
        "the service manager hands over a socket named \"https\": add a [tls] table, or disable that socket"
    )]
    NoTls,
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
    /// The macaroon keys, the policy, or the authorities of issuers.
    #[error(transparent)]
    Authentication(#[from] SetupError),
    /// The exchange of tokens.
    #[error(transparent)]
    Exchange(#[from] ExchangeSetupError),
    /// The pools' certificates.
    #[error(transparent)]
    Pools(#[from] ConnectError),
    /// The authorities of the pools' data ports.
    #[error(transparent)]
    DataPorts(#[from] penstock_trust::CertificateError),
}

/// Listeners that somebody has opened for a door and that do not block. Where there is none of a kind, the door opens
/// its own, if it is configured.
#[derive(Debug, Default)]
pub struct Sockets {
    /// For plain HTTP.
    pub plain: Vec<std::net::TcpListener>,
    /// For https.
    pub secure: Vec<std::net::TcpListener>,
}

/// What a configuration's files hold.
struct Prepared {
    authenticator: Authenticator,
    data_ports: Option<DataPorts>,
    exchanges: Arc<Exchanges>,
    pools: Pools,
    metrics: Metrics,
    secure: Option<Arc<SecurePort>>,
    passwords: Option<Arc<Passwords>>,
}

/// A door that does not run yet.
#[derive(Debug)]
pub struct Door;

impl Door {
    /// Checks all that can be checked without opening or binding anything. Needs a runtime, as the channels do.
    pub fn check(config: &Config) -> Result<(), StartError> {
        Self::prepare(config).map(drop)
    }

    /// Starts a door. It serves when this returns. It knows the pools that answer at once, and finds the others in the
    /// background: see [`RunningDoor::wait_for_pools`].
    pub async fn start(config: Config) -> Result<RunningDoor, StartError> {
        Self::start_on(config, Sockets::default(), ConnectionThreads::default()).await
    }

    /// The same on sockets that are open already, with threads of their own for clients' connections.
    pub async fn start_on(
        config: Config,
        sockets: Sockets,
        threads: ConnectionThreads,
    ) -> Result<RunningDoor, StartError> {
        let Prepared { authenticator, data_ports, exchanges, pools, metrics, secure, passwords } =
            Self::prepare(&config)?;
        let namespace = Namespace::open(&config.namespace, config.namespace_files(), &config.name).await?;
        namespace.be_the_only_door_of_its_name().await?;
        if secure.is_none() && !sockets.secure.is_empty() {
            return Err(StartError::NoTls);
        }
        let plain = listen(sockets.plain, config.plain_listen()).await?;
        let tls_listen = config.tls.as_ref().map(|tls| tls.listen);
        let ports: Vec<Port> = plain
            .into_iter()
            .map(|listener| Port { listener, secure: None })
            .chain(
                listen(sockets.secure, tls_listen)
                    .await?
                    .into_iter()
                    .map(|listener| Port { listener, secure: secure.clone() }),
            )
            .collect();
        let address_of = |wanted: bool| {
            let mut fitting = ports.iter().filter(|port| port.secure.is_some() == wanted);
            fitting.next().and_then(|port| port.listener.local_addr().ok())
        };
        // The first of each is what users know.
        let (plain_address, tls_address) = (address_of(false), address_of(true));
        let admin_listener = match config.admin_listen {
            Some(address) => Some(
                TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })?,
            ),
            None => None,
        };
        let admin_address = admin_listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let own_url = public_url(&config, plain_address, tls_address);
        let door = proto::DoorIdentity { name: config.name.to_string(), url: own_url.clone() };
        let rules = TransferRules {
            door,
            create_parents: config.create_parents,
            start_timeout: config.timeouts.pool_start.0,
            limit: config.limits.transfers,
            copies: config.copy.transfers,
            marker_period: config.copy.marker_period.0,
        };
        pools.iter().for_each(|pool| metrics.know_pool(pool.name()));
        let audit = Arc::new(Audit::start(config.authentication.audit.as_ref(), config.name.as_str())?);
        metrics.know_audit(Arc::clone(&audit));
        authenticator.issuers.keep();
        let transfers = Transfers::new(namespace.clone(), pools, rules, metrics.clone(), Arc::clone(&audit));
        transfers.keep_pools();
        let delegations = Delegations::new();
        delegations.keep_tidy();
        let current = Current::new(Service {
            authenticator,
            attempts: Attempts::default(),
            audit: Arc::clone(&audit),
            lifetimes: config.authentication.lifetimes(),
            namespace: namespace.clone(),
            transfers: Arc::clone(&transfers),
            redirect: config.redirect.clone(),
            data_ports,
            copy: config.copy.clone(),
            delegation: config.delegation.clone(),
            delegations,
            exchanges,
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
        let handshakes = config.tls.as_ref().map_or(1, |tls| tls.handshakes);
        let limits = config.limits;
        let bounds = Bounds::new(
            limits.connections,
            limits.connections_per_client,
            handshakes,
            config.timeouts.head.0,
        );
        // Connections wait in the listeners' queues meanwhile: who comes while the door is started again is not told that
        // there are no pools.
        transfers.pools().first_word(FIRST_WORD_LIMIT).await;
        let accepting = ports.into_iter().map(|port| {
            let serving =
                server::serve(port, Arc::clone(&current), bounds.clone(), threads.clone(), ending.clone());
            ending.connections.spawn(serving)
        });
        let accepting = accepting.collect();
        let files = Files { secure, passwords };
        files.tell();
        // Not among the connections, either: it ends with them.
        tokio::spawn(files.clone().watch(ending.stop.clone()));
        let show = |address: Option<SocketAddr>| address.map(|address| address.to_string());
        tracing::info!(
            http = show(plain_address),
            https = show(tls_address),
            name = config.name.as_str(),
            "the door is open"
        );
        let config = Mutex::new(config);
        Ok(RunningDoor {
            plain_address,
            tls_address,
            admin_address,
            files,
            audit,
            namespace,
            transfers,
            metrics,
            ending,
            current,
            config,
            accepting,
            threads,
        })
    }

    fn prepare(config: &Config) -> Result<Prepared, StartError> {
        config.check()?;
        let metrics = Metrics::new();
        let authentication = &config.authentication;
        let secure = match &config.tls {
            None => None,
            Some(tls) => {
                let authorities = authentication.load_authorities(config.url.as_ref()).transpose()?;
                let port = SecurePort::load(tls, authorities.map(Arc::new), metrics.clone())?;
                Some(Arc::new(port))
            }
        };
        let passwords = authentication.passwords.as_deref().map(Passwords::load).transpose()?.map(Arc::new);
        let authenticator = Authenticator::read(config, passwords.clone(), None)?;
        authenticator.warn_of_gaps(config);
        Ok(Prepared {
            authenticator,
            data_ports: read_data_ports(config)?,
            exchanges: read_exchanges(config)?,
            pools: Pools::new(&config.pools)?,
            metrics,
            secure,
            passwords,
        })
    }
}

/// Whom the door believes to be a pool, when it speaks https with their data ports. Blocks.
fn read_data_ports(config: &Config) -> Result<Option<DataPorts>, penstock_trust::CertificateError> {
    config.redirect.pool_authorities.as_deref().map(DataPorts::believing).transpose()
}

/// With which issuers tokens are exchanged. Blocks.
fn read_exchanges(config: &Config) -> Result<Arc<Exchanges>, ExchangeSetupError> {
    Exchanges::load(&config.delegation.exchange, config.authentication.issuer_authorities.as_deref())
}

/// The sockets that were handed over or, without any, one of the door's own.
async fn listen(
    handed_over: Vec<std::net::TcpListener>,
    own: Option<SocketAddr>,
) -> Result<Vec<TcpListener>, StartError> {
    let shown = own.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
    let listen_error = |source| StartError::Listen { address: shown, source };
    if !handed_over.is_empty() {
        let listeners = handed_over.into_iter().map(TcpListener::from_std);
        return listeners.collect::<Result<_, _>>().map_err(listen_error);
    }
    match own {
        Some(address) => Ok(vec![TcpListener::bind(address).await.map_err(listen_error)?]),
        None => Ok(Vec::new()),
    }
}

/// Where pools send lost clients. Nothing, when clients would not get anywhere with it.
fn public_url(config: &Config, plain: Option<SocketAddr>, tls: Option<SocketAddr>) -> String {
    let addresses = [("http", plain), ("https", tls)];
    let first = addresses.into_iter().find_map(|(scheme, address)| Some((scheme, address?)));
    match (&config.url, first) {
        (Some(url), _) => url.as_str().to_owned(),
        (None, Some((scheme, address))) if !address.ip().is_unspecified() => format!("{scheme}://{address}"),
        (None, _) => String::new(),
    }
}

/// Files that are read again when they change.
#[derive(Debug, Clone)]
struct Files {
    secure: Option<Arc<SecurePort>>,
    passwords: Option<Arc<Passwords>>,
}

impl Files {
    /// Says what is in use.
    fn tell(&self) {
        if let Some(secure) = &self.secure {
            secure.tell();
        }
        if let Some(passwords) = &self.passwords {
            passwords.tell();
        }
    }

    /// Reads those again that have changed, or all.
    async fn reload(&self, force: bool) {
        if let Some(secure) = &self.secure {
            secure.reload(force).await;
        }
        if let Some(passwords) = &self.passwords {
            passwords.reload(force).await;
        }
    }

    /// Looks for changes from time to time.
    async fn watch(self, stop: CancellationToken) {
        if self.secure.is_none() && self.passwords.is_none() {
            return;
        }
        let mut looks = tokio::time::interval(LOOK_PERIOD);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => self.reload(false).await,
                () = stop.cancelled() => return,
            }
        }
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
        ("namespace_ca", one.namespace_ca != other.namespace_ca),
        ("admin_listen", one.admin_listen != other.admin_listen),
        ("create_parents", one.create_parents != other.create_parents),
        ("copy", one.copy != other.copy),
        ("delegation", one.delegation != other.delegation),
        ("pools (their names)", one.pools != other.pools),
        ("tls", one.tls != other.tls),
        ("authentication", one.authentication != other.authentication),
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
    plain_address: Option<SocketAddr>,
    tls_address: Option<SocketAddr>,
    admin_address: Option<SocketAddr>,
    namespace: Namespace,
    transfers: Arc<Transfers>,
    metrics: Metrics,
    ending: Ending,
    current: Arc<Current>,
    files: Files,
    audit: Arc<Audit>,
    config: Mutex<Config>,
    /// One for each listener.
    accepting: Vec<JoinHandle<()>>,
    /// What connections have begun may still run on them.
    threads: ConnectionThreads,
}

impl RunningDoor {
    /// Where it listens: for plain HTTP if it does, else for https.
    pub fn address(&self) -> SocketAddr {
        // `Config::plain_listen` and `[tls]`: there is always one of them.
        let none = SocketAddr::from(([0, 0, 0, 0], 0));
        self.plain_address.or(self.tls_address).unwrap_or(none)
    }

    /// Where it listens for https, if it does.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls_address
    }

    /// By which URLs it can be reached, by address.
    pub fn urls(&self) -> Vec<String> {
        let plain = self.plain_address.map(|address| format!("http://{address}"));
        plain.into_iter().chain(self.tls_address.map(|address| format!("https://{address}"))).collect()
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

    /// What does not turn although it should: nobody accepts connections, or those of a thread have waited for so long.
    pub fn stuck(&self, limit: Duration) -> Option<String> {
        let ended = self.accepting.iter().any(JoinHandle::is_finished);
        let unheard = ended && !self.ending.drain.is_cancelled();
        unheard.then(|| "nobody accepts connections".to_owned()).or_else(|| self.threads.stuck(limit))
    }

    /// Reads keys and certificates again, and goes by another configuration as far as that is possible without a start;
    /// what has to wait for one is said. All of it or, when something is wrong, nothing.
    pub async fn reload(&self, new: Config) -> Result<(), ReloadError> {
        self.files.reload(true).await;
        self.audit.reopen();
        let (reading, before) = (new.clone(), self.current.get().authenticator.clone());
        let read = move || {
            let authenticator = Authenticator::read(&reading, before.passwords.clone(), Some(&before))?;
            Ok::<_, ReloadError>((authenticator, read_data_ports(&reading)?, read_exchanges(&reading)?))
        };
        let read = tokio::task::spawn_blocking(read).await;
        // Only the end of the runtime interrupts it.
        let Ok(read) = read else { return Ok(()) };
        let (authenticator, data_ports, exchanges) = read?;
        let other_pools = self.transfers.pools().renew(&new.pools)?;
        let old = self.config().clone();
        let running = Config {
            log: new.log.clone(),
            anonymous: new.anonymous,
            macaroon_keys: new.macaroon_keys.clone(),
            authentication: Authentication {
                authorities: old.authentication.authorities.clone(),
                passwords: old.authentication.passwords.clone(),
                audit: old.authentication.audit.clone(),
                ..new.authentication.clone()
            },
            redirect: new.redirect.clone(),
            delegation: new.delegation.clone(),
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
        authenticator.warn_of_gaps(&running);
        authenticator.issuers.keep();
        let service = Service {
            authenticator,
            lifetimes: running.authentication.lifetimes(),
            redirect: running.redirect.clone(),
            data_ports,
            copy: running.copy.clone(),
            delegation: running.delegation.clone(),
            exchanges,
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
        let audit = Arc::clone(&self.audit);
        // It waits for a disk.
        let _ = tokio::task::spawn_blocking(move || audit.end()).await;
    }
}
