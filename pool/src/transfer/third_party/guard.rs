//! What ends a third-party copy from beside: the door, the deadline, and a rate that is too low.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};

use super::Far;
use super::failures::position;
use crate::engine::core::Core;
use crate::remote::Settings;
use crate::transfer::put::stopped;
use crate::transfer::{Claim, Failure, FailureCode, Limit, Side, Transfer};

/// How often deadline and rate are looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// Watches over one transfer.
pub struct Guard<'a> {
    core: &'a Rc<Core>,
    claim: &'a Claim,
    settings: &'a Settings,
    far: Far,
    began_at: Instant,
    /// Bytes moved at times within the rate's window, oldest first.
    samples: RefCell<VecDeque<(Instant, u64)>>,
}

impl<'a> Guard<'a> {
    /// From now on.
    pub fn new(core: &'a Rc<Core>, claim: &'a Claim, settings: &'a Settings, far: Far) -> Guard<'a> {
        Guard { core, claim, settings, far, began_at: core.now(), samples: RefCell::default() }
    }

    /// The time since the transfer's turn came.
    pub fn elapsed(&self) -> Duration {
        self.core.now().saturating_duration_since(self.began_at)
    }

    /// Runs a part of the transfer; ends it early when the transfer is called off or its deadline passes.
    pub async fn run<T>(&self, part: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        self.unless(part, self.past_deadline()).await
    }

    /// The same for the part that moves the bytes, which must reach the minimum rate.
    pub async fn run_moving<T>(&self, part: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        self.samples.borrow_mut().clear();
        self.unless(part, self.too_slow()).await
    }

    async fn unless<T>(
        &self,
        part: impl Future<Output = Result<T, Failure>>,
        trouble: impl Future<Output = Failure>,
    ) -> Result<T, Failure> {
        let (called_off, trouble) = (pin!(self.claim.until_stopped()), pin!(trouble));
        let outside = select(called_off, trouble);
        match select(pin!(part), outside).await {
            Either::Left((result, _)) => result,
            Either::Right((Either::Left(((), _)), _)) => Err(stopped()),
            Either::Right((Either::Right((failure, _)), _)) => Err(failure),
        }
    }

    async fn past_deadline(&self) -> Failure {
        self.core.sleep_until(self.began_at + self.settings.deadline).await;
        self.deadline()
    }

    async fn too_slow(&self) -> Failure {
        loop {
            self.core.sleep(PERIOD).await;
            if self.elapsed() >= self.settings.deadline {
                return self.deadline();
            }
            if let Some(failure) = self.look_at_rate() {
                return failure;
            }
        }
    }

    fn deadline(&self) -> Failure {
        let limit = self.settings.deadline.as_secs();
        let at = position(self.transfer().progress(), self.elapsed());
        let text = format!("the copy did not end within {limit} s (tpc.deadline), {at}; {}", self.shares());
        Failure::new(FailureCode::Deadline, Side::Pool, text)
    }

    /// Slow by the other side or the path; the pool's own slowness is no reason to give up.
    fn look_at_rate(&self) -> Option<Failure> {
        let (now, moved) = (self.core.now(), self.transfer().progress().bytes_moved());
        let mut samples = self.samples.borrow_mut();
        samples.push_back((now, moved));
        let window = self.settings.rate_window;
        while samples.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) >= window) {
            samples.pop_front();
        }
        let (since, moved_then) = *samples.front()?;
        let span = now.saturating_duration_since(since);
        let rate = moved.saturating_sub(moved_then) as f64 / span.as_secs_f64().max(1e-3);
        let theirs = matches!(self.transfer().limits().now, None | Some(Limit::Source | Limit::Network));
        let least = self.settings.minimum_rate_bytes_per_second;
        if span < window || rate >= least as f64 || !theirs {
            return None;
        }
        let peer = self.transfer().progress().connections().last().map_or_else(String::new, |link| {
            let tcp = link.tcp.map_or_else(String::new, |tcp| {
                format!(", rtt {:.1} ms, {} retransmits", tcp.rtt.as_secs_f64() * 1e3, tcp.retransmits)
            });
            format!(", {} {}{tcp}", self.far.name, link.info.remote)
        });
        let text = format!(
            "too slow on {}: {rate:.0} bytes/s over the last {} s, less than {least}, {}{peer}; {}",
            self.far.method,
            span.as_secs(),
            position(self.transfer().progress(), self.elapsed()),
            self.shares()
        );
        Some(self.far.failure(FailureCode::TooSlow, text))
    }

    /// "limited by source 98%, disk 2%".
    fn shares(&self) -> String {
        let limits = self.transfer().limits();
        let name = |limit| match limit {
            Limit::Source => self.far.name,
            Limit::Network => "network",
            Limit::Disk => "disk",
            Limit::Checksum => "checksum",
            Limit::Queue => "queue",
        };
        let mut shares: Vec<(f64, &str)> =
            Limit::ALL.iter().map(|limit| (limits.share(*limit) * 100.0, name(*limit))).collect();
        shares.retain(|(percent, _)| *percent >= 0.5);
        shares.sort_by(|a, b| b.0.total_cmp(&a.0));
        let each: Vec<String> =
            shares.iter().map(|(percent, name)| format!("{name} {percent:.0}%")).collect();
        format!("limited by {}", each.join(", "))
    }

    fn transfer(&self) -> &Arc<Transfer> {
        self.claim.transfer()
    }
}
