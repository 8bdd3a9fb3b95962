//! From the configuration to what checks credentials: the files are read, and what looks like a mistake is said.

use std::sync::Arc;

use penstock_service::settings::ConfigError;

use super::kerberos::{Kerberos, KerberosSetupError};
use super::keys::{KeyError, KeyRing};
use super::password::Passwords;
use super::policy::Policy;
use super::token::fetch::Fetcher;
use super::token::issuer::{Issuers, IssuersError};
use super::token::stored::KeyStore;
use super::{Anonymous, Authenticator};
use crate::config::Config;

/// Why nobody could be told from anybody.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The macaroon keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The policy.
    #[error(transparent)]
    Policy(#[from] ConfigError),
    /// The authorities of the issuers' servers, or where their keys are kept.
    #[error(transparent)]
    Issuers(#[from] IssuersError),
    /// The keys of Kerberos.
    #[error(transparent)]
    Kerberos(#[from] KerberosSetupError),
}

impl Authenticator {
    /// Reads what a configuration names. `before` goes on living in what the new one knows already of issuers. Blocks.
    pub fn read(
        config: &Config,
        passwords: Option<Arc<Passwords>>,
        before: Option<&Authenticator>,
    ) -> Result<Self, SetupError> {
        let table = &config.authentication;
        let policy = table.policy.as_deref().map(Policy::load).transpose()?.unwrap_or_default();
        let trusted = table.issuers_of(config.url.as_ref());
        let issuers = if trusted.is_empty() {
            Arc::new(Issuers::none())
        } else {
            let fetcher = Fetcher::new(table.issuer_authorities.as_deref()).map_err(IssuersError::from)?;
            let store = table.issuer_keys.as_deref().map(KeyStore::open).transpose();
            let store = store.map_err(IssuersError::from)?;
            Issuers::new(&trusted, fetcher, before.map(|before| before.issuers.as_ref()), store.as_ref())
        };
        Ok(Self {
            keys: KeyRing::load(&config.macaroon_keys)?,
            anonymous: config.anonymous,
            issuers,
            policy: Arc::new(policy),
            passwords,
            kerberos: table.kerberos.as_deref().map(Kerberos::load).transpose()?,
        })
    }

    /// Says what lets nobody in although it is configured.
    pub fn warn_of_gaps(&self, config: &Config) {
        let table = &config.authentication;
        let knows = table.authorities.is_some()
            || table.passwords.is_some()
            || table.kerberos.is_some()
            || !table.issuers.is_empty();
        if knows && table.policy.is_none() {
            tracing::warn!(
                "authentication.policy: there is none, so that certificates, passwords and signed tokens give no rights"
            );
            return;
        }
        for issuer in &table.issuers {
            if !self.policy.names_issuer(&issuer.url) {
                tracing::warn!(
                    issuer = issuer.url,
                    "authentication.issuers: no rule of the policy names it, so that its tokens give no rights"
                );
            }
            if issuer.audiences.is_empty() && config.url.is_none() {
                tracing::warn!(
                    issuer = issuer.url,
                    "authentication.issuers: it has no audiences and the door no url: only tokens for any audience are taken"
                );
            }
        }
        if self.anonymous == Anonymous::Write && knows {
            tracing::warn!("anonymous: everybody may do everything, whatever the policy says");
        }
    }
}
