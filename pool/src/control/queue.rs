//! The queues: how many transfers of each run at once, and whose turn is next.
//!
//! Within a queue, higher priority goes first and equal ones in order of arrival. Priority is strict: a steady stream
//! of higher priority keeps lower ones waiting; doors that need fairness use several queues. Pure bookkeeping,
//! without locks: the registry holds it under its own.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use thiserror::Error;

pub use crate::config::QueueLimits;
use crate::transfer::TransferId;

/// Why a transfer cannot wait in a queue.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QueueError {
    /// There is no queue of that name.
    #[error("queue: there is no queue \"{name}\" here; there are {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// It holds as many as it may.
    #[error("queue \"{name}\" is full: {running} transfers run and {waiting} wait; try again later")]
    Full {
        /// Which.
        name: String,
        /// Transfers that run.
        running: usize,
        /// Transfers that wait.
        waiting: usize,
    },
}

/// A place in a queue. Smaller is served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn {
    priority: Reverse<i32>,
    arrival: u64,
}

/// A queue's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueStatus {
    /// Its name.
    pub name: String,
    /// Transfers that are ready or run.
    pub running: usize,
    /// How many may.
    pub max_running: usize,
    /// Transfers that wait.
    pub waiting: usize,
}

/// All queues of a pool.
#[derive(Debug)]
pub struct Queues {
    by_name: BTreeMap<String, Queue>,
    arrivals: u64,
}

#[derive(Debug)]
struct Queue {
    limits: QueueLimits,
    running: usize,
    waiting: BTreeMap<Turn, TransferId>,
}

impl Queues {
    /// Empty queues. Of two of one name, the later counts; configuration refuses that before.
    #[must_use]
    pub fn new(limits: Vec<QueueLimits>) -> Self {
        let queue = |limits: QueueLimits| Queue { limits, running: 0, waiting: BTreeMap::new() };
        Self { by_name: limits.into_iter().map(|l| (l.name.clone(), queue(l))).collect(), arrivals: 0 }
    }

    /// Lets a transfer wait.
    pub fn enqueue(&mut self, name: &str, priority: i32, id: TransferId) -> Result<Turn, QueueError> {
        let Some(queue) = self.by_name.get_mut(name) else {
            let known = self.by_name.keys().map(|k| format!("\"{k}\"")).collect::<Vec<_>>().join(", ");
            return Err(QueueError::Unknown { name: name.to_owned(), known });
        };
        let (running, waiting) = (queue.running, queue.waiting.len());
        if running >= queue.limits.max_running && waiting >= queue.limits.max_waiting {
            return Err(QueueError::Full { name: name.to_owned(), running, waiting });
        }
        let turn = Turn { priority: Reverse(priority), arrival: self.arrivals };
        self.arrivals += 1;
        queue.waiting.insert(turn, id);
        Ok(turn)
    }

    /// Takes the next transfer out of waiting into running, if one may run.
    pub fn admit(&mut self, name: &str) -> Option<TransferId> {
        let queue = self.by_name.get_mut(name)?;
        if queue.running >= queue.limits.max_running {
            return None;
        }
        let (_, id) = queue.waiting.pop_first()?;
        queue.running += 1;
        Some(id)
    }

    /// A waiting transfer goes.
    pub fn leave(&mut self, name: &str, turn: Turn) {
        if let Some(queue) = self.by_name.get_mut(name) {
            queue.waiting.remove(&turn);
        }
    }

    /// A running transfer goes.
    pub fn release(&mut self, name: &str) {
        if let Some(queue) = self.by_name.get_mut(name) {
            queue.running = queue.running.saturating_sub(1);
        }
    }

    /// Other limits for the queues that are there. What runs or waits beyond a lower limit stays.
    pub fn set_limits(&mut self, limits: &[QueueLimits]) {
        for limits in limits {
            if let Some(queue) = self.by_name.get_mut(&limits.name) {
                queue.limits = limits.clone();
            }
        }
    }

    /// The names.
    pub fn names(&self) -> Vec<String> {
        self.by_name.keys().cloned().collect()
    }

    /// How many are served before this one.
    #[must_use]
    pub fn ahead(&self, name: &str, turn: Turn) -> usize {
        self.by_name.get(name).map_or(0, |queue| queue.waiting.range(..turn).count())
    }

    /// Every queue's numbers, by name.
    #[must_use]
    pub fn status(&self) -> Vec<QueueStatus> {
        let status = |queue: &Queue| QueueStatus {
            name: queue.limits.name.clone(),
            running: queue.running,
            max_running: queue.limits.max_running,
            waiting: queue.waiting.len(),
        };
        self.by_name.values().map(status).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_limits_count_from_the_next_transfer_on() {
        let mut queues = queues(1, 1);
        let id = |name: &str| TransferId::new(name).unwrap();
        for name in ["a", "b"] {
            queues.enqueue("default", 0, id(name)).unwrap();
            queues.admit("default");
        }
        assert!(queues.enqueue("default", 0, id("c")).is_err(), "one runs, one waits");
        let more = QueueLimits { name: "default".into(), max_running: 2, max_waiting: 1 };
        queues.set_limits(&[more, QueueLimits { name: "unknown".into(), max_running: 9, max_waiting: 9 }]);
        assert_eq!(queues.admit("default"), Some(id("b")));
        assert_eq!(queues.admit("default"), None);
        let fewer = QueueLimits { name: "default".into(), max_running: 1, max_waiting: 1 };
        queues.set_limits(&[fewer]);
        queues.release("default");
        queues.enqueue("default", 0, id("c")).unwrap();
        assert_eq!(queues.admit("default"), None, "one still runs, as many as may");
        assert_eq!(queues.names(), ["default", "tpc"]);
    }

    fn queues(max_running: usize, max_waiting: usize) -> Queues {
        Queues::new(vec![
            QueueLimits { name: "default".into(), max_running, max_waiting },
            QueueLimits { name: "tpc".into(), max_running: 1, max_waiting: 1 },
        ])
    }

    fn id(text: &str) -> TransferId {
        TransferId::new(text).unwrap()
    }

    #[test]
    fn transfers_are_served_by_priority_and_then_by_arrival() {
        let mut queues = queues(10, 10);
        for (name, priority) in [("a", 0), ("b", 5), ("c", 0), ("d", -1), ("e", 5)] {
            queues.enqueue("default", priority, id(name)).unwrap();
        }
        let order: Vec<String> =
            std::iter::from_fn(|| queues.admit("default")).map(|id| id.to_string()).collect();
        assert_eq!(order, ["b", "e", "a", "c", "d"]);
    }

    #[test]
    fn no_more_run_than_may_until_one_goes() {
        let mut queues = queues(1, 10);
        queues.enqueue("default", 0, id("a")).unwrap();
        queues.enqueue("default", 0, id("b")).unwrap();
        assert_eq!(queues.admit("default"), Some(id("a")));
        assert_eq!(queues.admit("default"), None);
        queues.release("default");
        assert_eq!(queues.admit("default"), Some(id("b")));
    }

    #[test]
    fn a_full_queue_refuses_and_leaves_the_others_alone() {
        let mut queues = queues(10, 10);
        queues.enqueue("tpc", 0, id("a")).unwrap();
        queues.admit("tpc").unwrap();
        queues.enqueue("tpc", 0, id("b")).unwrap();
        let full = QueueError::Full { name: "tpc".into(), running: 1, waiting: 1 };
        assert_eq!(queues.enqueue("tpc", 99, id("c")), Err(full));
        assert!(queues.enqueue("default", 0, id("c")).is_ok());
    }

    #[test]
    fn a_queue_that_nobody_may_wait_in_still_takes_what_can_run_at_once() {
        let mut queues = queues(1, 0);
        queues.enqueue("default", 0, id("a")).unwrap();
        queues.admit("default").unwrap();
        assert!(queues.enqueue("default", 0, id("b")).is_err());
    }

    #[test]
    fn an_unknown_queue_is_named_with_those_that_exist() {
        let error = queues(1, 1).enqueue("fast", 0, id("a")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "queue: there is no queue \"fast\" here; there are \"default\", \"tpc\""
        );
    }

    #[test]
    fn whoever_leaves_lets_the_others_move_up() {
        let mut queues = queues(1, 10);
        let turns: Vec<Turn> =
            ["a", "b", "c"].iter().map(|name| queues.enqueue("default", 0, id(name)).unwrap()).collect();
        assert_eq!(queues.ahead("default", turns[2]), 2);
        queues.leave("default", turns[0]);
        assert_eq!(queues.ahead("default", turns[2]), 1);
        assert_eq!(queues.admit("default"), Some(id("b")));
    }
}
