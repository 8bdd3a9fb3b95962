//! Certificates, authorities and names, read again when their files change.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use penstock_service::reminder::Reminder;
use tracing::{info, warn};

use crate::control::data_port::DataPort;
use crate::control::grpc::tls::{GrpcTls, Validity};
use crate::marking::Marking;
use crate::tls::ServerTls;

/// How often the files of certificates are looked at.
const RELOAD_PERIOD: Duration = Duration::from_secs(30);

/// Looks for new certificates, for as long as the pool runs.
pub(super) async fn now_and_then(
    data_port: Arc<dyn DataPort>,
    for_doors: Option<Arc<GrpcTls>>,
    marking: Arc<Marking>,
) {
    let mut told = Validity::Good;
    // What holds at the start was said when the certificate was read.
    let mut reminder = Reminder::said(Instant::now());
    loop {
        let worry = data_port.tls().and_then(|tls| tls.worry(SystemTime::now()));
        if let Some(problem) = worry
            && reminder.is_due(Instant::now())
        {
            warn!(problem, "the data port's certificate");
        }
        if let Some(tls) = &for_doors {
            // Once for each state, as there may be nobody who looks at the log every day.
            let validity = tls.validity(SystemTime::now());
            if validity != told {
                tls.warn_of(validity);
                told = validity;
            }
        }
        tokio::time::sleep(RELOAD_PERIOD).await;
        all(&data_port, &marking, for_doors.as_ref(), false).await;
    }
}

/// All of it that has changed; with `force`, changed or not.
pub(super) async fn all(
    data_port: &Arc<dyn DataPort>,
    marking: &Arc<Marking>,
    for_doors: Option<&Arc<GrpcTls>>,
    force: bool,
) {
    reload_authorities(data_port, force).await;
    reload_certificate(data_port, force).await;
    reload_names(marking, force).await;
    if let Some(tls) = for_doors {
        reload_for_doors(tls, force).await;
    }
}

/// Names of experiments and activities.
async fn reload_names(marking: &Arc<Marking>, force: bool) {
    let reading = Arc::clone(marking);
    match tokio::task::spawn_blocking(move || reading.reload(force)).await {
        Ok(Ok(true)) => info!("the names of experiments and activities were read"),
        Ok(Ok(false)) | Err(_) => {}
        Ok(Err(error)) => {
            warn!(%error, "marking.registry: the new names are not used, the old ones stay");
        }
    }
}

/// The certificate that doors see, and the authority that they are believed by.
async fn reload_for_doors(tls: &Arc<GrpcTls>, force: bool) {
    let reading = Arc::clone(tls);
    match tokio::task::spawn_blocking(move || reading.reload(force)).await {
        Ok(Ok(true)) => info!("the certificate for doors was read"),
        Ok(Ok(false)) | Err(_) => {}
        Ok(Err(error)) => {
            warn!(%error, "the new certificate for doors is not used, the old one stays");
        }
    }
}

/// The certificate that clients see.
async fn reload_certificate(data_port: &Arc<dyn DataPort>, force: bool) {
    let Some(tls) = data_port.tls().cloned() else { return };
    let reading = Arc::clone(&tls);
    match tokio::task::spawn_blocking(move || reading.reload(force)).await {
        Ok(Ok(true)) => tell(&tls),
        Ok(Ok(false)) | Err(_) => {}
        Ok(Err(error)) => {
            warn!(%error, "the data port's new certificate is not used, the old one stays")
        }
    }
}

/// Authorities and revocation lists that remote servers are believed by.
async fn reload_authorities(data_port: &Arc<dyn DataPort>, force: bool) {
    let Some(tls) = data_port.authorities().cloned() else { return };
    let reading = Arc::clone(&tls);
    match tokio::task::spawn_blocking(move || reading.reload(force)).await {
        Ok(Ok(true)) => {
            let trust = tls.trust();
            info!(
                authorities = trust.authorities,
                revocation_lists = trust.revocation_lists,
                passed_over = trust.passed_over.len(),
                "the certificates of authorities were read"
            );
        }
        Ok(Ok(false)) | Err(_) => {}
        Ok(Err(error)) => {
            warn!(%error, "the new certificates of authorities are not used, the old ones stay");
        }
    }
}

/// Says which certificate is in use, and what there is to worry about.
pub(super) fn tell(tls: &ServerTls) {
    let days = tls.ends_at().and_then(|ends_at| ends_at.duration_since(SystemTime::now()).ok());
    info!(days_left = days.map(|left| left.as_secs() / 86_400), "the data port's certificate was read");
    if let Some(problem) = tls.worry(SystemTime::now()) {
        warn!(problem, "the data port's certificate");
    }
}
