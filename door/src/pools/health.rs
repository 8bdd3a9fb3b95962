//! Following the state of a pool: a stream that is opened again, with growing pauses, whenever it breaks.

use std::sync::Arc;
use std::time::Duration;

use penstock_door_proto::v1 as proto;
use proto::pool_status::Health;
use tokio_util::sync::CancellationToken;

use super::Pool;

/// How often a pool tells its state; it also tells every change of its health at once.
const STATUS_PERIOD: Duration = Duration::from_secs(2);
/// A pool that is silent for this long is taken for hung.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);
/// Pauses between attempts to reach a pool: doubled from the first to the second.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What is known of a pool.
#[derive(Debug, Clone)]
pub enum PoolState {
    /// Nothing: the door has just started.
    Unknown,
    /// It told this.
    Up(Arc<proto::PoolStatus>),
    /// It cannot be reached: why, in a few words.
    Unreachable(Arc<str>),
}

impl PoolState {
    pub(super) fn unreachable(why: &str) -> Self {
        PoolState::Unreachable(why.into())
    }

    /// Whether it answers, in whatever health.
    pub fn is_up(&self) -> bool {
        matches!(self, PoolState::Up(_))
    }

    /// What keeps it from working, to be read after "the pool, which …". A state that the caller can do with, besides
    /// good health, may be named.
    pub(super) fn obstacle(&self, also_good: Option<Health>) -> Option<String> {
        let status = match self {
            PoolState::Up(status) => status,
            PoolState::Unknown => return Some("was not asked yet".to_owned()),
            PoolState::Unreachable(why) => return Some(format!("cannot be reached ({why})")),
        };
        match status.health() {
            Health::Ok => None,
            health if Some(health) == also_good => None,
            Health::ReadOnly => Some("is read-only".into()),
            Health::Draining => Some("is draining".into()),
            Health::Failed | Health::Unspecified => Some("is not well".into()),
        }
    }
}

/// Follows one pool until told to stop. Logs when it comes and goes.
pub async fn follow(pool: Arc<Pool>, door: proto::DoorIdentity, stop: CancellationToken) {
    let mut pause = FIRST_PAUSE;
    loop {
        let why = tokio::select! {
            () = stop.cancelled() => return,
            why = watch_once(&pool, &door) => why,
        };
        let was_up = pool.state().is_up();
        if was_up {
            tracing::warn!(pool = pool.name(), %why, "pool lost");
            pause = FIRST_PAUSE;
        }
        pool.state.send_replace(PoolState::unreachable(&why));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Follows a pool until the stream ends; returns why it did.
async fn watch_once(pool: &Pool, door: &proto::DoorIdentity) -> String {
    let request =
        proto::WatchStatusRequest { period: prost_duration(STATUS_PERIOD), door: Some(door.clone()) };
    let mut client = pool.client();
    let mut stream = match tokio::time::timeout(SILENCE_LIMIT, client.watch_status(request)).await {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => return plain(&status),
        Err(_) => return "it does not answer".into(),
    };
    loop {
        match tokio::time::timeout(SILENCE_LIMIT, stream.message()).await {
            Ok(Ok(Some(status))) => {
                if !pool.state().is_up() {
                    tracing::info!(
                        pool = pool.name(),
                        version = status.version,
                        health = ?status.health(),
                        "pool connected"
                    );
                }
                pool.state.send_replace(PoolState::Up(Arc::new(status)));
            }
            Ok(Ok(None)) => return "it closed the connection".into(),
            Ok(Err(status)) => return plain(&status),
            Err(_) => return format!("it was silent for {} s", SILENCE_LIMIT.as_secs()),
        }
    }
}

fn plain(status: &tonic::Status) -> String {
    let cause = std::error::Error::source(status).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{}{cause}", status.message())
}

fn prost_duration(duration: Duration) -> Option<prost_types::Duration> {
    // Only a period longer than some hundred billion years fails.
    duration.try_into().ok()
}
