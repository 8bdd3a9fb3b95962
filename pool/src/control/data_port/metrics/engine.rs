//! What Prometheus, and the pool's load, see of the shards: buffers, rings, and how busy their threads are.
//!
//! Each shard writes its own gauges once a second; whoever asks adds them up.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::time::{ClockId, clock_gettime};

use crate::checksum::DigestPool;
use crate::control::data_port::EngineLoad;
use crate::control::liveness::Beat;
use crate::engine::blocking::Blocking;
use crate::engine::core::Core;

/// How often a shard tells how busy it is.
pub(in crate::control::data_port) const GAUGE_PERIOD: Duration = Duration::from_secs(1);
/// Loads are kept as parts of this.
const WHOLE: f64 = 1_000_000.0;
/// What the kernel calls the threads that do what a ring could not do at once (Linux, io_uring/io-wq.c).
const RING_WORKER_PREFIX: &str = "iou-wrk";

/// What a shard tells of itself.
#[derive(Debug, Default)]
pub(in crate::control::data_port) struct Gauges {
    /// A task of the shard has run: its loop turns.
    pub turned: Beat,
    slots: AtomicU64,
    used: AtomicU64,
    /// Tasks in line for a buffer.
    waiting: AtomicU64,
    /// Operations that the ring has not ended.
    in_flight: AtomicU64,
    /// Share of the last period that the thread was on a processor, in parts of [`WHOLE`].
    busy: AtomicU64,
}

/// Runs on a shard: reads the thread's own clocks now and then.
pub(in crate::control::data_port) async fn watch(core: Rc<Core>, gauges: Arc<Gauges>) {
    let processor_seconds = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let (mut since, mut worked_before) = (core.now(), processor_seconds());
    loop {
        gauges.turned.strike();
        let arena = core.arena();
        gauges.slots.store(arena.slots() as u64, Ordering::Relaxed);
        gauges.used.store(arena.used() as u64, Ordering::Relaxed);
        gauges.waiting.store(arena.waiting() as u64, Ordering::Relaxed);
        gauges.in_flight.store(core.operations_in_flight() as u64, Ordering::Relaxed);
        core.sleep(GAUGE_PERIOD).await;
        let (now, worked) = (core.now(), processor_seconds());
        let elapsed = now.saturating_duration_since(since).as_secs_f64();
        if elapsed > 0.0 {
            let share = ((worked - worked_before) / elapsed).clamp(0.0, 1.0);
            gauges.busy.store((share * WHOLE) as u64, Ordering::Relaxed);
        }
        (since, worked_before) = (now, worked);
    }
}

/// How busy the shards are, all together.
pub(in crate::control::data_port) fn load(gauges: &[Arc<Gauges>]) -> EngineLoad {
    let sum = |of: fn(&Gauges) -> &AtomicU64| {
        gauges.iter().map(|gauges| of(gauges).load(Ordering::Relaxed)).sum::<u64>()
    };
    let (slots, used) = (sum(|gauges| &gauges.slots), sum(|gauges| &gauges.used));
    let busiest = gauges.iter().map(|gauges| gauges.busy.load(Ordering::Relaxed)).max();
    EngineLoad {
        buffers_used: if slots == 0 { 0.0 } else { used as f64 / slots as f64 },
        busiest_shard: busiest.unwrap_or(0) as f64 / WHOLE,
    }
}

/// The engine, read when Prometheus asks.
pub(in crate::control::data_port) struct EngineCollector {
    /// Of all shards, by their numbers.
    pub gauges: Vec<Arc<Gauges>>,
    /// Threads for calls that block.
    pub blocking: Arc<Blocking>,
    /// Threads for slow checksums.
    pub digests: Arc<DigestPool>,
}

impl fmt::Debug for EngineCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineCollector").finish_non_exhaustive()
    }
}

impl Collector for EngineCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        type Read = fn(&Gauges) -> f64;
        let of_shards: [(&str, &str, Read); 5] = [
            ("engine_buffers", "I/O buffers of 1 MiB, by shard", |g| whole(&g.slots)),
            ("engine_buffers_used", "I/O buffers in use, by shard", |g| whole(&g.used)),
            ("engine_buffer_waiters", "Tasks in line for an I/O buffer, by shard", |g| whole(&g.waiting)),
            ("engine_operations_in_flight", "Operations that the shard's ring has not ended", |g| {
                whole(&g.in_flight)
            }),
            (
                "engine_shard_busy_ratio",
                "Share of the last second that the shard's thread was on a processor",
                |g| whole(&g.busy) / WHOLE,
            ),
        ];
        for (name, help, read) in of_shards {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (number, gauges) in self.gauges.iter().enumerate() {
                let labels = [("shard", number.to_string())];
                ConstGauge::new(read(gauges)).encode(family.encode_family(&labels)?)?;
            }
        }
        let (threads, waiting) = self.blocking.load();
        let totals = [
            ("engine_blocking_threads", "Threads for calls to the file system that block", threads),
            ("engine_blocking_jobs_waiting", "Calls to the file system that wait for such a thread", waiting),
            (
                "engine_ring_workers",
                "Threads of the kernel for ring operations that could not be done at once (punted)",
                ring_workers(),
            ),
            (
                "checksum_streams_waiting",
                "Uploads with chunks that wait for a digest thread (md5, sha)",
                self.digests.waiting(),
            ),
        ];
        for (name, help, count) in totals {
            let gauge = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

fn whole(count: &AtomicU64) -> f64 {
    count.load(Ordering::Relaxed) as f64
}

/// Threads of this process that the kernel has made for its rings. 0 where /proc does not tell.
fn ring_workers() -> usize {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return 0 };
    let is_worker = |name: String| name.starts_with(RING_WORKER_PREFIX);
    threads
        .flatten()
        .filter(|thread| std::fs::read_to_string(thread.path().join("comm")).is_ok_and(is_worker))
        .count()
}
