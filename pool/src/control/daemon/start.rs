//! Starts a pool.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use penstock_service::trace::Tracer;
use tokio::sync::watch;
use tracing::{info, warn};

use super::settings::{descriptors_needed, registry_settings, scrub_settings};
use super::{PoolError, RunningPool, descriptors, reload, serve, tick};
use crate::config::Config;
use crate::control::admin::AdminPort;
use crate::control::admin::history::History;
use crate::control::data_port::{self, DataPort, DataPortError};
use crate::control::grpc::listen;
use crate::control::grpc::service::{Parts, PoolService};
use crate::control::liveness::Beat;
use crate::control::metrics::{self, Metrics};
use crate::control::registry::chronicle::Chronicle;
use crate::control::registry::records::Records;
use crate::control::registry::results::Results;
use crate::control::registry::{self, Registry};
use crate::control::status::{Identity, StatusSource};
use crate::engine::disk::KernelDisk;
use crate::marking::{self, Marking, MarkingCollector};
use crate::scrub::Scrub;
use crate::store::Store;
use crate::tls::ServerTls;
use crate::transfer::{Capability, Clock, Desk, SystemClock};

/// Starts the data port; tests put another in the place of the shards.
pub type StartDataPort = Box<
    dyn FnOnce(Arc<dyn Desk>, Arc<Store>, &Config, &Metrics) -> Result<Arc<dyn DataPort>, DataPortError>
        + Send,
>;

/// A pool that is not running.
#[derive(Debug)]
pub struct Pool;

impl Pool {
    /// Starts a pool. When this returns, all its ports answer.
    pub async fn start(config: Config) -> Result<RunningPool, PoolError> {
        Self::start_with(config, Box::new(data_port::start)).await
    }

    /// Checks all that can be checked without making or binding anything.
    pub fn check(config: &Config) -> Result<(), PoolError> {
        listen::check(&config.grpc)?;
        if let Some(path) = &config.marking.registry {
            let _ = marking::Registry::load(path)?;
        }
        if let Some(tls) = &config.data_tls {
            ServerTls::load(tls.files.clone()).map_err(DataPortError::from)?;
        }
        Ok(())
    }

    /// Starts a pool with another data port.
    pub async fn start_with(
        config: Config,
        start_data_port: StartDataPort,
    ) -> Result<RunningPool, PoolError> {
        Self::check(&config)?;
        let store = {
            let config = config.store();
            tokio::task::spawn_blocking(move || Store::open_root(Arc::new(KernelDisk), &config)).await??
        };
        let store = Arc::new(store);
        for problem in &store.scan_report().problem_texts {
            warn!(problem, "found in the pool's directory");
        }
        descriptors::raise(descriptors_needed(&config));
        let metrics = Arc::new(Metrics::new());
        let marking = {
            let settings = config.marking.clone();
            tokio::task::spawn_blocking(move || Marking::start(settings)).await??
        };
        metrics.register(|registry| {
            registry.register_collector(Box::new(MarkingCollector(Arc::clone(&marking))));
        });
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let registry = Registry::new(registry_settings(&config), Arc::clone(&clock), Arc::clone(&metrics));
        registry.set_marking(&marking);
        let records = match &config.records {
            Some(target) => Some(Records::start(target, &config.name)?),
            None => None,
        };
        let chronicle = Arc::new(Chronicle::new(records));
        registry.set_chronicle(Arc::clone(&chronicle));
        registry::metrics::register(&metrics, &registry, &chronicle);
        let results = Arc::new(Results::new(Arc::clone(&registry), Arc::clone(&store)));
        {
            let results = Arc::clone(&results);
            tokio::task::spawn_blocking(move || results.restore()).await?;
        }

        // All ports are bound before any is served, so that a pool that cannot start disturbs nobody.
        let grpc = listen::bind(&config.grpc).await?;
        let admin_error = |error| PoolError::Admin { address: config.admin_listen, error };
        let admin_listener = AdminPort::bind(config.admin_listen).await.map_err(admin_error)?;
        let admin_addr = admin_listener.local_addr().map_err(admin_error)?;
        let data_port =
            start_data_port(Arc::clone(&registry) as Arc<dyn Desk>, Arc::clone(&store), &config, &metrics)?;
        registry.set_data_port(&data_port);
        registry.set_tracer(Tracer::start("penstock-pool", &config.name, &config.tracing));
        let data_addr = data_port.address();
        let authority = config.data_advertise.clone().unwrap_or_else(|| data_addr.to_string());
        registry.redirects().set_plain(format!("http://{authority}"));
        if let Some(address) = data_port.secure_address() {
            let advertise = config.data_tls.as_ref().and_then(|tls| tls.advertise.clone());
            registry
                .redirects()
                .set_secure(format!("https://{}", advertise.unwrap_or_else(|| address.to_string())));
        }
        if let Some(tls) = data_port.tls() {
            reload::tell(tls);
        }

        let scrub =
            Scrub::new(Arc::clone(&store), scrub_settings(&config), clock).map_err(PoolError::Threads)?;
        let scrub = Arc::new(scrub);
        metrics::store::register(&metrics, Arc::clone(&store), Arc::clone(&scrub));
        let identity = Identity {
            pool_name: config.name.clone(),
            instance_id: Capability::random()?.expose(),
            started_at: SystemTime::now(),
        };
        let status = Arc::new(StatusSource::new(
            identity,
            Arc::clone(&registry),
            Arc::clone(&store),
            Arc::clone(&metrics),
            Arc::clone(&data_port),
            Arc::clone(&scrub),
        ));
        let (health, health_changes) = watch::channel(0);
        let service = PoolService::new(Parts {
            registry: Arc::clone(&registry),
            store: Arc::clone(&store),
            status: Arc::clone(&status),
            results: Arc::clone(&results),
            scrub: Arc::clone(&scrub),
            max_file_size: config.max_file_size,
            health: health.clone(),
        });
        let serving = serve::serve(grpc, service.clone(), Arc::clone(&registry), health_changes)?;
        let history = Arc::new(History::default());
        let beat = Arc::new(Beat::default());
        let ticking = tokio::spawn(tick::tick(
            Arc::clone(&registry),
            service,
            Arc::clone(&status),
            health.clone(),
            Arc::clone(&beat),
            (Arc::clone(&history), Arc::clone(&metrics)),
        ));
        let keeping = tokio::spawn(tick::keep(Arc::clone(&registry), Arc::clone(&results)));
        let admin = AdminPort::new(Arc::clone(&registry), Arc::clone(&status), Arc::clone(&metrics), history);
        let admin = Arc::new(admin).serve(admin_listener);
        let reloading = tokio::spawn(reload::now_and_then(
            Arc::clone(&data_port),
            serving.tls().cloned(),
            Arc::clone(&marking),
        ));
        info!(pool = config.name, root = %config.root.display(), data = %data_addr, admin = %admin_addr,
            grpc = %serving.address(), replicas = store.counts().all, "pool started");
        Ok(RunningPool {
            config: Mutex::new(config),
            registry,
            store,
            status,
            beat,
            metrics,
            health,
            data_port,
            data_addr,
            admin_addr,
            serving,
            admin,
            ticking,
            keeping,
            results,
            scrub,
            reloading,
            marking,
        })
    }
}
