//! Another configuration, as far as it can be gone by without a start.

use super::files::{read_data_ports, read_exchanges};
use super::{ReloadError, RunningDoor};
use crate::auth::Authenticator;
use crate::config::{Authentication, Config, CopyRules, Limits, Timeouts};
use crate::http::Service;

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

impl RunningDoor {
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
            body_timeout: running.timeouts.head.0,
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
}
