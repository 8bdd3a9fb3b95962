//! One TCP connection's part in a transfer: addresses, bytes, and what held it back.
//!
//! A shard writes, control reads; all by atomics but the TCP facts.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::clock::Moment;

/// What can hold a transfer back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// The other side does not send, or does not take.
    Source = 0,
    /// The congestion window or the path.
    Network = 1,
    /// The disk.
    Disk = 2,
    /// Computing checksums.
    Checksum = 3,
    /// Buffers, or the pool's own queue.
    Queue = 4,
}

impl Limit {
    /// All, in the order of their numbers.
    pub const ALL: [Limit; 5] = [Limit::Source, Limit::Network, Limit::Disk, Limit::Checksum, Limit::Queue];

    fn from_number(number: u8) -> Option<Limit> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// In [`Link::limit_now`]: no request is being served.
const IDLE: u8 = u8::MAX;

/// What a connection is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// The pool's end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// Encrypted.
    pub tls: bool,
    /// The IPv6 flow label that the packets carry; 0: none.
    pub flow_label: u32,
}

/// Facts from TCP_INFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpInfo {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Segments sent again, since the connection began.
    pub retransmits: u64,
    /// The kernel's estimate of what the path delivers.
    pub delivery_rate_bytes_per_second: u64,
    /// Bytes that the other side acknowledged.
    pub bytes_acknowledged: u64,
    /// Congestion window in segments.
    pub congestion_window_segments: u32,
}

/// One connection of a transfer.
#[derive(Debug)]
pub struct Link {
    info: ConnectionInfo,
    received: AtomicU64,
    sent: AtomicU64,
    open: AtomicBool,
    limit_now: AtomicU8,
    limit_since_us: AtomicU64,
    limited_us: [AtomicU64; 5],
    tcp: Mutex<Option<TcpInfo>>,
}

impl Link {
    pub(super) fn new(info: ConnectionInfo) -> Self {
        Self {
            info,
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            open: AtomicBool::new(true),
            limit_now: AtomicU8::new(IDLE),
            limit_since_us: AtomicU64::new(0),
            limited_us: Default::default(),
            tcp: Mutex::new(None),
        }
    }

    /// Addresses and kind.
    #[must_use]
    pub fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    /// Counts body bytes that came in.
    pub fn received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts body bytes that went out.
    pub fn sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Remembers the TCP facts as they are now.
    pub fn set_tcp(&self, tcp: TcpInfo) {
        *self.tcp.lock().unwrap_or_else(PoisonError::into_inner) = Some(tcp);
    }

    /// From now on this holds the connection back. One writer (the connection's shard).
    pub(super) fn enter(&self, limit: Limit, now: Moment) {
        self.close_span(now);
        self.limit_since_us.store(now.monotonic_us, Ordering::Relaxed);
        self.limit_now.store(limit as u8, Ordering::Release);
    }

    /// The connection serves the transfer (again).
    pub(super) fn open(&self) {
        self.open.store(true, Ordering::Release);
    }

    /// No request of the transfer is being served on it any more.
    pub(super) fn rest(&self, now: Moment) {
        self.close_span(now);
        self.limit_now.store(IDLE, Ordering::Release);
        self.open.store(false, Ordering::Release);
    }

    fn close_span(&self, now: Moment) {
        if let Some(limit) = Limit::from_number(self.limit_now.load(Ordering::Acquire)) {
            let span_us = now.monotonic_us.saturating_sub(self.limit_since_us.load(Ordering::Relaxed));
            self.limited_us[limit as usize].fetch_add(span_us, Ordering::Relaxed);
        }
    }

    /// A request of the transfer is being served on it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// What holds it back now; `None` while it rests.
    #[must_use]
    pub fn limit_now(&self) -> Option<Limit> {
        Limit::from_number(self.limit_now.load(Ordering::Acquire))
    }

    /// Microseconds by limit up to `now`, the present span included.
    #[must_use]
    pub fn limited_us(&self, now: Moment) -> [u64; 5] {
        let mut spans = [0; 5];
        for (span, total) in spans.iter_mut().zip(&self.limited_us) {
            *span = total.load(Ordering::Relaxed);
        }
        if let Some(limit) = self.limit_now() {
            spans[limit as usize] +=
                now.monotonic_us.saturating_sub(self.limit_since_us.load(Ordering::Relaxed));
        }
        spans
    }

    /// What a reader sees of it.
    #[must_use]
    pub fn snapshot(&self) -> LinkSnapshot {
        LinkSnapshot {
            info: self.info,
            bytes_received: self.received.load(Ordering::Relaxed),
            bytes_sent: self.sent.load(Ordering::Relaxed),
            tcp: *self.tcp.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// A connection at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSnapshot {
    /// Addresses and kind.
    pub info: ConnectionInfo,
    /// Body bytes that came in.
    pub bytes_received: u64,
    /// Body bytes that went out.
    pub bytes_sent: u64,
    /// TCP facts when last asked; `None` when never.
    pub tcp: Option<TcpInfo>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::clock::{Clock, ManualClock};

    fn link() -> Link {
        let local = "127.0.0.1:2881".parse().unwrap();
        let remote = "192.0.2.1:40000".parse().unwrap();
        Link::new(ConnectionInfo { local, remote, tls: false, flow_label: 0 })
    }

    #[test]
    fn time_is_counted_for_the_limit_that_was_entered_last() {
        let (link, clock) = (link(), ManualClock::default());
        link.enter(Limit::Source, clock.now());
        clock.advance(Duration::from_millis(3));
        link.enter(Limit::Disk, clock.now());
        clock.advance(Duration::from_millis(2));
        // The span that is not over yet counts as well, so that a stall shows while it lasts.
        assert_eq!(link.limited_us(clock.now()), [3000, 0, 2000, 0, 0]);
        assert_eq!(link.limit_now(), Some(Limit::Disk));
    }

    #[test]
    fn a_resting_connection_counts_no_time() {
        let (link, clock) = (link(), ManualClock::default());
        link.enter(Limit::Network, clock.now());
        clock.advance(Duration::from_millis(1));
        link.rest(clock.now());
        clock.advance(Duration::from_secs(60));
        assert_eq!(link.limited_us(clock.now()), [0, 1000, 0, 0, 0]);
        assert_eq!(link.limit_now(), None);
    }
}
