//! Files that the door goes by: what they hold at its start, and those that are read again when they change.

use std::sync::Arc;

use penstock_trust::CertificateError;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::auth::Authenticator;
use crate::auth::password::Passwords;
use crate::config::Config;
use crate::delegation::Exchanges;
use crate::delegation::exchange::ExchangeSetupError;
use crate::metrics::Metrics;
use crate::pools::Pools;
use crate::tls::port::LOOK_PERIOD;
use crate::tls::{DataPorts, SecurePort};

/// What a configuration's files hold.
pub(super) struct Prepared {
    pub authenticator: Authenticator,
    pub data_ports: Option<DataPorts>,
    pub exchanges: Arc<Exchanges>,
    pub pools: Pools,
    pub metrics: Metrics,
    pub secure: Option<Arc<SecurePort>>,
    pub passwords: Option<Arc<Passwords>>,
}

impl Prepared {
    /// Reads and checks all of them. Needs a runtime, as the pools' channels do. Blocks.
    pub fn read(config: &Config) -> Result<Self, StartError> {
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
        Ok(Self {
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
pub(super) fn read_data_ports(config: &Config) -> Result<Option<DataPorts>, CertificateError> {
    config.redirect.pool_authorities.as_deref().map(DataPorts::believing).transpose()
}

/// With which issuers tokens are exchanged. Blocks.
pub(super) fn read_exchanges(config: &Config) -> Result<Arc<Exchanges>, ExchangeSetupError> {
    Exchanges::load(&config.delegation.exchange, config.authentication.issuer_authorities.as_deref())
}

/// Files that are read again when they change.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub secure: Option<Arc<SecurePort>>,
    pub passwords: Option<Arc<Passwords>>,
}

impl Files {
    /// Says what is in use.
    pub fn tell(&self) {
        if let Some(secure) = &self.secure {
            secure.tell();
        }
        if let Some(passwords) = &self.passwords {
            passwords.tell();
        }
    }

    /// Reads those again that have changed, or all.
    pub async fn reload(&self, force: bool) {
        if let Some(secure) = &self.secure {
            secure.reload(force).await;
        }
        if let Some(passwords) = &self.passwords {
            passwords.reload(force).await;
        }
    }

    /// Looks for changes from time to time.
    pub async fn watch(self, stop: CancellationToken) {
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
