//! How far a transfer is: counters that shards write and control reads, without locks on the bulk path.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock::{Clock, Moment};
use super::link::{ConnectionInfo, Limit, Link, LinkSnapshot};

/// Connections of one transfer that are remembered with their addresses. Further ones count in the totals only.
pub const MAX_LISTED_CONNECTIONS: usize = 64;

/// In `bytes_requested`: not known.
const UNKNOWN: u64 = u64::MAX;
/// In the times of the start and the last byte: not yet.
const NEVER: u64 = u64::MAX;

/// Progress of one transfer.
#[derive(Debug)]
pub struct Progress {
    clock: Arc<dyn Clock>,
    bytes_moved: AtomicU64,
    bytes_requested: AtomicU64,
    /// When bytes could begin to move.
    began_us: AtomicU64,
    first_moved_us: AtomicU64,
    last_moved_us: AtomicU64,
    last_moved_unix_us: AtomicU64,
    retries: AtomicU32,
    disk_read: DiskTime,
    disk_written: DiskTime,
    links: Mutex<Vec<Arc<Link>>>,
    /// Limit times of connections that fell off the list.
    forgotten_us: [AtomicU64; 5],
}

#[derive(Debug, Default)]
struct DiskTime {
    bytes: AtomicU64,
    busy_us: AtomicU64,
}

impl DiskTime {
    fn add(&self, bytes: u64, busy: Duration) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.busy_us.fetch_add(u64::try_from(busy.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn bandwidth(&self) -> f64 {
        let busy_us = self.busy_us.load(Ordering::Relaxed);
        if busy_us == 0 { 0.0 } else { self.bytes.load(Ordering::Relaxed) as f64 * 1e6 / busy_us as f64 }
    }
}

impl Progress {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            bytes_moved: AtomicU64::new(0),
            bytes_requested: AtomicU64::new(UNKNOWN),
            began_us: AtomicU64::new(NEVER),
            first_moved_us: AtomicU64::new(NEVER),
            last_moved_us: AtomicU64::new(NEVER),
            last_moved_unix_us: AtomicU64::new(0),
            retries: AtomicU32::new(0),
            disk_read: DiskTime::default(),
            disk_written: DiskTime::default(),
            links: Mutex::new(Vec::new()),
            forgotten_us: Default::default(),
        }
    }

    /// Counts bytes that were written to the file (PUT), or handed to the other side (GET). Never scheduled ones.
    pub fn moved(&self, bytes: u64) {
        let now = self.clock.now();
        self.bytes_moved.fetch_add(bytes, Ordering::Relaxed);
        if self.first_moved_us.load(Ordering::Relaxed) == NEVER {
            // The earliest of several connections, give or take what they are apart.
            let _ = self.first_moved_us.compare_exchange(
                NEVER,
                now.monotonic_us,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
        self.last_moved_us.store(now.monotonic_us, Ordering::Relaxed);
        self.last_moved_unix_us.store(now.unix_us, Ordering::Relaxed);
    }

    /// The client has come: bytes can move from here on.
    pub(super) fn begin(&self, now: Moment) {
        self.began_us.store(now.monotonic_us, Ordering::Relaxed);
    }

    /// So many bytes are to be moved in all.
    pub fn set_requested(&self, bytes: u64) {
        self.bytes_requested.store(bytes, Ordering::Relaxed);
    }

    /// So many more bytes are to be moved (each range request of a GET adds its own).
    pub fn add_requested(&self, bytes: u64) {
        let _ = self.bytes_requested.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |known| {
            Some(if known == UNKNOWN { bytes } else { known.saturating_add(bytes).min(UNKNOWN - 1) })
        });
    }

    /// Counts a retry inside the transfer.
    pub fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts bytes read from the disk, and how long that took.
    pub fn disk_read(&self, bytes: u64, busy: Duration) {
        self.disk_read.add(bytes, busy);
    }

    /// Counts bytes written to the disk, and how long that took.
    pub fn disk_written(&self, bytes: u64, busy: Duration) {
        self.disk_written.add(bytes, busy);
    }

    /// Bytes moved so far.
    #[must_use]
    pub fn bytes_moved(&self) -> u64 {
        self.bytes_moved.load(Ordering::Relaxed)
    }

    /// Bytes to move in all, if known.
    #[must_use]
    pub fn bytes_requested(&self) -> Option<u64> {
        Some(self.bytes_requested.load(Ordering::Relaxed)).filter(|bytes| *bytes != UNKNOWN)
    }

    /// Retries so far.
    #[must_use]
    pub fn retries(&self) -> u32 {
        self.retries.load(Ordering::Relaxed)
    }

    /// When the last byte moved.
    #[must_use]
    pub fn last_moved_at(&self) -> Option<Moment> {
        let monotonic_us = self.last_moved_us.load(Ordering::Relaxed);
        let unix_us = self.last_moved_unix_us.load(Ordering::Relaxed);
        (monotonic_us != NEVER).then_some(Moment { monotonic_us, unix_us })
    }

    /// From the start to the last byte so far.
    #[must_use]
    pub fn transfer_time(&self) -> Duration {
        let began = self.began_us.load(Ordering::Relaxed);
        let last = self.last_moved_us.load(Ordering::Relaxed);
        if began == NEVER || last == NEVER {
            return Duration::ZERO;
        }
        Duration::from_micros(last.saturating_sub(began))
    }

    /// From the start to the first byte that moved; `None` before that.
    #[must_use]
    pub fn first_byte_time(&self) -> Option<Duration> {
        let began = self.began_us.load(Ordering::Relaxed);
        let first = self.first_moved_us.load(Ordering::Relaxed);
        (began != NEVER && first != NEVER).then(|| Duration::from_micros(first.saturating_sub(began)))
    }

    /// Bytes per second that the disk was read with; 0 when it was not.
    #[must_use]
    pub fn mean_read_bandwidth(&self) -> f64 {
        self.disk_read.bandwidth()
    }

    /// Bytes per second that the disk was written with; 0 when it was not.
    #[must_use]
    pub fn mean_write_bandwidth(&self) -> f64 {
        self.disk_written.bandwidth()
    }

    /// The connections that are remembered, oldest first.
    #[must_use]
    pub fn connections(&self) -> Vec<LinkSnapshot> {
        self.lock_links().iter().map(|link| link.snapshot()).collect()
    }

    /// Time by limit over all connections, in microseconds, and what holds the first open one back now.
    pub(super) fn limited(&self, now: Moment) -> (Option<Limit>, [u64; 5]) {
        let mut totals: [u64; 5] = std::array::from_fn(|i| self.forgotten_us[i].load(Ordering::Relaxed));
        let mut limit_now = None;
        for link in self.lock_links().iter() {
            limit_now = limit_now.or_else(|| link.limit_now());
            for (total, span) in totals.iter_mut().zip(link.limited_us(now)) {
                *total += span;
            }
        }
        (limit_now, totals)
    }

    /// The record of a connection: a known one again, or a new one. When all places are taken by open connections,
    /// the new one is not listed.
    pub(super) fn link(&self, info: ConnectionInfo) -> Arc<Link> {
        let mut links = self.lock_links();
        if let Some(known) = links.iter().find(|link| *link.info() == info) {
            known.open();
            return Arc::clone(known);
        }
        let link = Arc::new(Link::new(info));
        if links.len() >= MAX_LISTED_CONNECTIONS
            && let Some(oldest_closed) = links.iter().position(|link| !link.is_open())
        {
            let gone = links.remove(oldest_closed);
            for (total, span) in self.forgotten_us.iter().zip(gone.limited_us(self.clock.now())) {
                total.fetch_add(span, Ordering::Relaxed);
            }
        }
        if links.len() < MAX_LISTED_CONNECTIONS {
            links.push(Arc::clone(&link));
        }
        link
    }

    pub(super) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    fn lock_links(&self) -> MutexGuard<'_, Vec<Arc<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::clock::ManualClock;

    fn progress() -> (Progress, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::default());
        (Progress::new(clock.clone()), clock)
    }

    fn connection(port: u16) -> ConnectionInfo {
        let local = "127.0.0.1:2881".parse().unwrap();
        ConnectionInfo { local, remote: ([192, 0, 2, 1], port).into(), tls: false, flow_label: 0 }
    }

    #[test]
    fn transfer_time_runs_from_the_start_to_the_last_byte() {
        let (progress, clock) = progress();
        clock.advance(Duration::from_secs(5));
        progress.begin(clock.now());
        clock.advance(Duration::from_secs(1));
        progress.moved(10);
        clock.advance(Duration::from_secs(1));
        progress.moved(20);
        clock.advance(Duration::from_secs(9));
        assert_eq!(progress.bytes_moved(), 30);
        assert_eq!(progress.transfer_time(), Duration::from_secs(2));
        assert_eq!(progress.first_byte_time(), Some(Duration::from_secs(1)));
        assert_eq!(progress.last_moved_at().unwrap().monotonic_us, 7_000_000);
    }

    #[test]
    fn nothing_is_known_of_a_transfer_that_has_not_moved() {
        let (progress, _) = progress();
        assert_eq!(progress.bytes_requested(), None);
        assert_eq!(progress.last_moved_at(), None);
        assert_eq!(progress.first_byte_time(), None);
        assert_eq!(progress.transfer_time(), Duration::ZERO);
        assert_eq!(progress.mean_read_bandwidth(), 0.0);
    }

    #[test]
    fn range_requests_add_up_to_what_is_requested() {
        let (progress, _) = progress();
        progress.add_requested(100);
        progress.add_requested(50);
        assert_eq!(progress.bytes_requested(), Some(150));
    }

    #[test]
    fn disk_bandwidth_is_bytes_by_busy_time() {
        let (progress, _) = progress();
        progress.disk_written(1_000_000, Duration::from_millis(500));
        assert_eq!(progress.mean_write_bandwidth(), 2_000_000.0);
    }

    #[test]
    fn a_connection_that_comes_again_keeps_its_record() {
        let (progress, _) = progress();
        progress.link(connection(1)).sent(5);
        progress.link(connection(1)).sent(7);
        let connections = progress.connections();
        assert_eq!(connections.len(), 1);
        assert_eq!(connections[0].bytes_sent, 12);
    }

    #[test]
    fn the_list_of_connections_is_bounded_and_forgets_closed_ones_first_but_not_their_time() {
        let (progress, clock) = progress();
        let links: Vec<_> =
            (1..=MAX_LISTED_CONNECTIONS as u16).map(|port| progress.link(connection(port))).collect();
        links[3].enter(Limit::Network, clock.now());
        clock.advance(Duration::from_millis(4));
        links[3].rest(clock.now());

        progress.link(connection(1000));
        progress.link(connection(1001)); // no closed one is left to make room

        let ports: Vec<u16> = progress.connections().iter().map(|c| c.info.remote.port()).collect();
        assert_eq!(ports.len(), MAX_LISTED_CONNECTIONS);
        assert!(!ports.contains(&4) && ports.contains(&1000) && !ports.contains(&1001));
        assert_eq!(progress.limited(clock.now()).1[Limit::Network as usize], 4000);
    }
}
