//! Starting a door.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use penstock_door_proto::v1 as proto;
use penstock_service::trace::Tracer;
use tokio::net::TcpListener;

use super::files::{Files, Prepared};
use super::sockets::{listen, public_url};
use super::{RunningDoor, Sockets, StartError};
use crate::audit::Audit;
use crate::auth::attempts::Attempts;
use crate::config::Config;
use crate::delegation::Delegations;
use crate::http::Service;
use crate::http::admin::{self, AdminPort};
use crate::http::current::Current;
use crate::http::server::{self, Bounds, Ending, Port};
use crate::http::tape::Staged;
use crate::http::threads::ConnectionThreads;
use crate::namespace::Namespace;
use crate::transfers::{TransferRules, Transfers};

/// What a start waits for pools that are silent.
const FIRST_WORD_LIMIT: Duration = Duration::from_secs(2);
/// A door that does not run yet.
#[derive(Debug)]
pub struct Door;

impl Door {
    /// Checks all that can be checked without opening or binding anything. Needs a runtime, as the channels do.
    pub fn check(config: &Config) -> Result<(), StartError> {
        Prepared::read(config).map(drop)
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
            Prepared::read(&config)?;
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
            body_timeout: config.timeouts.head.0,
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
}
