//! Copies under way: so many at once, one after the other, until the time is up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use penstock_door_proto::v1 as proto;
use tokio::task::JoinSet;

use super::case::{Case, Direction};
use crate::measure::{Failures, Latencies};
use crate::orders::{Copied, Door, Limits, Refused};
use crate::terminal::Interrupt;

/// How often it is looked for an interrupt.
pub const LOOK: Duration = Duration::from_millis(100);
/// After a copy that failed at once, the next waits: a pool that refuses all is not to be asked without end.
const PAUSE: Duration = Duration::from_millis(50);

/// What the copies of a run share.
pub struct Crew {
    /// Who orders.
    pub door: Door,
    /// What is copied.
    pub case: Case,
    /// Where from, or to.
    pub url: String,
    /// Sent along.
    pub headers: Vec<proto::Header>,
    /// The replica that is pushed.
    pub replica: String,
    /// All files together may take so many bytes.
    pub space_bytes: u64,
}

/// What was copied.
#[derive(Debug)]
pub struct Work {
    /// Whole copies.
    pub copies: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What held them back.
    pub limits: Limits,
    /// How long each took.
    pub latencies: Latencies,
    /// Those that failed.
    pub failures: Failures,
    /// From the first one's start to the last one's end.
    pub elapsed: Duration,
}

impl Work {
    fn none() -> Self {
        Self {
            copies: 0,
            bytes: 0,
            limits: Limits::default(),
            latencies: Latencies::new(),
            failures: Failures::default(),
            elapsed: Duration::ZERO,
        }
    }

    fn add(&mut self, other: Work) {
        self.copies += other.copies;
        self.bytes += other.bytes;
        self.limits.add_all(&other.limits);
        self.latencies.add(&other.latencies);
        self.failures.add_all(other.failures);
    }
}

impl Crew {
    /// As many as the case has, for so long; those that have begun are brought to their end.
    pub async fn work(self: Arc<Self>, length: Duration, interrupt: &Interrupt) -> anyhow::Result<Work> {
        let began_at = Instant::now();
        let until = began_at + length;
        // Dropped with an error, it ends its tasks; the pool calls off what nobody follows any more.
        let mut tasks = JoinSet::new();
        for _ in 0..self.case.parallel {
            tasks.spawn(Arc::clone(&self).one_after_another(until));
        }
        let mut whole = Work::none();
        loop {
            match tokio::time::timeout(LOOK, tasks.join_next()).await {
                Ok(Some(Ok(part))) => whole.add(part?),
                Ok(Some(Err(_))) => anyhow::bail!("a copy's task panicked"),
                Ok(None) => break,
                Err(_) => interrupt.check()?,
            }
        }
        whole.elapsed = began_at.elapsed();
        anyhow::ensure!(
            whole.copies > 0,
            "not one copy was made{}",
            whole.failures.shown().map_or(String::new(), |failures| format!(": {failures}"))
        );
        Ok(whole)
    }

    async fn one_after_another(self: Arc<Self>, until: Instant) -> anyhow::Result<Work> {
        let (mut work, mut own) = (Work::none(), Vec::new());
        while Instant::now() < until {
            let began_at = Instant::now();
            match self.copy(&mut own).await {
                Ok(copied) => {
                    work.latencies.record(began_at.elapsed());
                    work.copies += 1;
                    work.bytes += copied.bytes;
                    if let Some(limits) = &copied.limits {
                        work.limits.add(limits, copied.bytes);
                    }
                }
                Err(refused) => {
                    work.failures.add(&kind_of(&refused), &refused.text);
                    tokio::time::sleep(PAUSE).await;
                }
            }
            self.make_room(&mut own).await?;
        }
        Ok(work)
    }

    async fn copy(&self, own: &mut Vec<String>) -> Result<Copied, Refused> {
        match self.case.direction {
            Direction::Pull => {
                let pull = self.pull();
                let (replica, copied) = self.door.pull(pull, self.case.size_bytes).await?;
                own.push(replica);
                Ok(copied)
            }
            Direction::Push => {
                let push = proto::Push { remote: Some(self.remote()) };
                self.door.push(&self.replica, push).await
            }
        }
    }

    /// What the pool is asked to pull.
    pub fn pull(&self) -> proto::Pull {
        proto::Pull { remote: Some(self.remote()), streams: self.case.streams, ..Default::default() }
    }

    fn remote(&self) -> proto::Remote {
        proto::Remote { url: self.url.clone(), headers: self.headers.clone(), ..Default::default() }
    }

    /// Removes copies of this task when all together, and those that are under way, take too much.
    async fn make_room(&self, own: &mut Vec<String>) -> anyhow::Result<()> {
        if !own.is_empty() && self.door.bytes() + self.case.size_bytes > self.space_bytes {
            for replica in own.drain(..) {
                self.door.remove(&replica).await?;
            }
        }
        Ok(())
    }
}

/// What a failure is counted as: `REMOTE_REFUSED` as "remote refused".
fn kind_of(refused: &Refused) -> String {
    let name = refused.code.as_str_name();
    name.strip_prefix("FAILURE_CODE_").unwrap_or(name).replace('_', " ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_the_names_of_the_contract() {
        let refused = |code| Refused { code, text: String::new() };
        assert_eq!(kind_of(&refused(proto::FailureCode::RemoteRefused)), "remote refused");
        assert_eq!(kind_of(&refused(proto::FailureCode::Tls)), "tls");
    }
}
