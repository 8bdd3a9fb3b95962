//! The tasks of a running pool: what time demands, and what the disk has to know.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::control::admin::history::History;
use crate::control::grpc::service::PoolService;
use crate::control::liveness::Beat;
use crate::control::metrics::Metrics;
use crate::control::registry::Registry;
use crate::control::registry::results::Results;
use crate::control::status::StatusSource;

/// How often deadlines are looked at, and bytes counted.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// Does what time demands, for as long as the pool runs, and rings when the pool's health has changed.
pub(super) async fn tick(
    registry: Arc<Registry>,
    service: PoolService,
    status: Arc<StatusSource>,
    health: watch::Sender<u64>,
    beat: Arc<Beat>,
    (history, metrics): (Arc<History>, Arc<Metrics>),
) {
    let mut told = status.signs();
    let mut noting: Option<JoinHandle<()>> = None;
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        registry.tick();
        let (in_bytes, out_bytes) = metrics.totals();
        history.note(Instant::now(), in_bytes, out_bytes);
        beat.strike();
        // It writes to the disk, which may hang; deadlines are looked at all the same.
        if noting.as_ref().is_none_or(JoinHandle::is_finished) {
            let service = service.clone();
            noting = Some(tokio::spawn(async move { service.note_orphans().await }));
        }
        let signs = status.signs();
        if signs.differ_from(&told) {
            told = signs;
            health.send_modify(|version| *version = version.wrapping_add(1));
        }
    }
}

/// Lets the disk know what became of transfers, for as long as the pool runs.
pub(super) async fn keep(registry: Arc<Registry>, results: Arc<Results>) {
    loop {
        registry.something_to_keep().await;
        // Only the end of the runtime interrupts it.
        let _ = results.flush_soon().await;
    }
}
