//! When a pull opens another stream: only while its source is what limits it.
//!
//! More streams help against a source, or a path, that gives each of them little. Against a disk or a processor that is
//! busy already they make it worse: more buffers of sockets pass through the caches, and the same thread has more to
//! attend to. So a pull begins with one stream, and opens as many again as long as it mostly waits for its source.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::engine::core::Core;
use crate::transfer::{Limit, Transfer};

/// The first look after streams were opened. A long path is still in its first round trips then, and waits for its
/// source all the time.
const FIRST_WINDOW: Duration = Duration::from_millis(20);
/// A path that has become slow is noticed after so long at most.
const LAST_WINDOW: Duration = Duration::from_secs(5);
/// Of the streams' time, in percent, that they wait for the source.
const SOURCE_LIMITS_PERCENT: u64 = 60;
/// Of the shard's time, in percent: its thread can hardly do more.
const SHARD_BUSY_PERCENT: u128 = 85;

/// What holds a pull back, seen over one window after the other.
pub(super) struct Growth<'a> {
    core: &'a Rc<Core>,
    transfer: &'a Arc<Transfer>,
    window: Duration,
}

impl<'a> Growth<'a> {
    /// Of a pull that has just begun. The core is that of the thread that calls.
    pub(super) fn new(core: &'a Rc<Core>, transfer: &'a Arc<Transfer>) -> Growth<'a> {
        Growth { core, transfer, window: FIRST_WINDOW }
    }

    /// Waits until further streams may bring more.
    pub(super) async fn worthwhile(&mut self) {
        loop {
            let (before, busy_before, began_at) = (self.limited(), thread_time(), self.core.now());
            self.core.sleep(self.window).await;
            let mut waited = self.limited();
            for (after, before) in waited.iter_mut().zip(before) {
                *after = after.saturating_sub(before);
            }
            let busy = thread_time().saturating_sub(busy_before);
            if source_limits(waited) && !takes_all(busy, self.core.now() - began_at) {
                self.window = FIRST_WINDOW;
                return;
            }
            self.window = (self.window * 2).min(LAST_WINDOW);
        }
    }

    fn limited(&self) -> [u64; 5] {
        self.transfer.progress().limited(self.transfer.now()).1
    }
}

fn source_limits(waited_us: [u64; 5]) -> bool {
    let all: u64 = waited_us.iter().sum();
    all > 0 && waited_us[Limit::Source as usize] * 100 >= all * SOURCE_LIMITS_PERCENT
}

fn takes_all(busy: Duration, window: Duration) -> bool {
    busy.as_micros() * 100 >= window.as_micros() * SHARD_BUSY_PERCENT
}

/// Processor time of this thread so far.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // Neither is ever negative.
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waited(source: u64, disk: u64) -> [u64; 5] {
        let mut waited = [0; 5];
        waited[Limit::Source as usize] = source;
        waited[Limit::Disk as usize] = disk;
        waited
    }

    #[test]
    fn more_streams_are_for_transfers_that_wait_for_their_source() {
        assert!(source_limits(waited(20_000, 0)));
        assert!(source_limits(waited(60, 40)));
        assert!(!source_limits(waited(59, 41)));
        assert!(!source_limits(waited(0, 20_000)));
    }

    #[test]
    fn of_a_transfer_on_no_connection_nothing_can_be_told() {
        assert!(!source_limits([0; 5]));
    }

    #[test]
    fn a_thread_that_works_all_the_time_has_none_left_for_more_streams() {
        let window = Duration::from_millis(20);
        assert!(takes_all(Duration::from_millis(18), window));
        assert!(!takes_all(Duration::from_millis(10), window));
    }
}
