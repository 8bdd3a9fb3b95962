//! The states of a transfer and the only steps between them.
//!
//! ```text
//! Queued ─Admit→ Ready ─Start→ Running ─AllMoved→ Finishing ─Finish→ Done
//!    └──────────────┴─────────────┴──────────────────┴── Fail → Failed, Cancel → Cancelled
//! ```
//! Whatever is not drawn is an [`IllegalStep`], and the state stays as it was.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::clock::Moment;
use super::record::{Cancelled, Failed, Finished};

/// Where a transfer stands.
#[derive(Debug, Clone)]
pub enum State {
    /// Waits for its turn.
    Queued,
    /// GET, PUT: the client may come.
    Ready {
        /// Since when.
        ready_at: Moment,
    },
    /// The client has come; bytes move.
    Running {
        /// When it became ready.
        ready_at: Moment,
        /// When the client came.
        started_at: Moment,
    },
    /// All bytes have arrived; they are being made durable.
    Finishing {
        /// When it became ready.
        ready_at: Moment,
        /// When the client came.
        started_at: Moment,
    },
    /// It did what it was asked for.
    Done(Arc<Finished>),
    /// It failed.
    Failed(Arc<Failed>),
    /// It was called off.
    Cancelled(Arc<Cancelled>),
}

/// What can happen to a transfer.
#[derive(Debug, Clone)]
pub enum Step {
    /// Its turn has come.
    Admit(Moment),
    /// The client has come.
    Start(Moment),
    /// The last byte has arrived.
    AllMoved,
    /// It is done.
    Finish(Arc<Finished>),
    /// It failed.
    Fail(Arc<Failed>),
    /// It is called off.
    Cancel(Arc<Cancelled>),
}

/// A state without its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StateName {
    /// See [`State::Queued`].
    Queued,
    /// See [`State::Ready`].
    Ready,
    /// See [`State::Running`].
    Running,
    /// See [`State::Finishing`].
    Finishing,
    /// See [`State::Done`].
    Done,
    /// See [`State::Failed`].
    Failed,
    /// See [`State::Cancelled`].
    Cancelled,
}

impl StateName {
    /// In one lower-case word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            StateName::Queued => "queued",
            StateName::Ready => "ready",
            StateName::Running => "running",
            StateName::Finishing => "finishing",
            StateName::Done => "done",
            StateName::Failed => "failed",
            StateName::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A step that does not exist from the present state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a {state} transfer cannot {step}")]
pub struct IllegalStep {
    /// The present state.
    pub state: StateName,
    /// The step, as a verb.
    pub step: &'static str,
}

impl State {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> StateName {
        match self {
            State::Queued => StateName::Queued,
            State::Ready { .. } => StateName::Ready,
            State::Running { .. } => StateName::Running,
            State::Finishing { .. } => StateName::Finishing,
            State::Done(_) => StateName::Done,
            State::Failed(_) => StateName::Failed,
            State::Cancelled(_) => StateName::Cancelled,
        }
    }

    /// Nothing more will happen to it.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        match self {
            State::Queued | State::Ready { .. } | State::Running { .. } | State::Finishing { .. } => false,
            State::Done(_) | State::Failed(_) | State::Cancelled(_) => true,
        }
    }

    /// Why it ended without having done what it was asked for, if it did.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        match self {
            State::Failed(failed) => Some(failed.failure.text()),
            State::Cancelled(cancelled) => Some(cancelled.reason.as_str()),
            State::Queued
            | State::Ready { .. }
            | State::Running { .. }
            | State::Finishing { .. }
            | State::Done(_) => None,
        }
    }

    /// When it became ready, if it did and has not ended.
    #[must_use]
    pub fn ready_at(&self) -> Option<Moment> {
        match self {
            State::Ready { ready_at }
            | State::Running { ready_at, .. }
            | State::Finishing { ready_at, .. } => Some(*ready_at),
            State::Queued | State::Done(_) | State::Failed(_) | State::Cancelled(_) => None,
        }
    }

    /// When the client came, if it did.
    #[must_use]
    pub fn started_at(&self) -> Option<Moment> {
        match self {
            State::Queued | State::Ready { .. } | State::Cancelled(_) => None,
            State::Running { started_at, .. } | State::Finishing { started_at, .. } => Some(*started_at),
            State::Done(finished) => Some(finished.started_at),
            State::Failed(failed) => failed.started_at,
        }
    }

    /// The state after `step`.
    pub fn after(&self, step: Step) -> Result<State, IllegalStep> {
        match (self, step) {
            (State::Queued, Step::Admit(ready_at)) => Ok(State::Ready { ready_at }),
            (State::Ready { ready_at }, Step::Start(started_at)) => {
                Ok(State::Running { ready_at: *ready_at, started_at })
            }
            (State::Running { ready_at, started_at }, Step::AllMoved) => {
                Ok(State::Finishing { ready_at: *ready_at, started_at: *started_at })
            }
            (State::Finishing { .. }, Step::Finish(finished)) => Ok(State::Done(finished)),
            (
                State::Queued | State::Ready { .. } | State::Running { .. } | State::Finishing { .. },
                Step::Fail(failed),
            ) => Ok(State::Failed(failed)),
            (
                State::Queued | State::Ready { .. } | State::Running { .. } | State::Finishing { .. },
                Step::Cancel(cancelled),
            ) => Ok(State::Cancelled(cancelled)),
            (state, step) => Err(IllegalStep { state: state.name(), step: step.verb() }),
        }
    }
}

impl Step {
    fn verb(&self) -> &'static str {
        match self {
            Step::Admit(_) => "be admitted",
            Step::Start(_) => "start",
            Step::AllMoved => "have all its bytes",
            Step::Finish(_) => "finish",
            Step::Fail(_) => "fail",
            Step::Cancel(_) => "be cancelled",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::transfer::failure::Failure;
    use crate::transfer::record::{LimitShares, Summary};

    const T: Moment = Moment { monotonic_us: 7, unix_us: 1_767_225_600_000_000 };

    fn summary() -> Summary {
        Summary {
            bytes_moved: 1,
            transfer_time: Duration::ZERO,
            mean_read_bandwidth: 0.0,
            mean_write_bandwidth: 0.0,
            connections: Vec::new(),
            limits: LimitShares::default(),
        }
    }

    fn finished() -> Arc<Finished> {
        Arc::new(Finished { size: 1, checksums: vec![], started_at: T, finished_at: T, summary: summary() })
    }

    fn failed() -> Arc<Failed> {
        let failure = Failure::internal("x");
        Arc::new(Failed { failure, started_at: Some(T), failed_at: T, summary: summary() })
    }

    fn cancelled() -> Arc<Cancelled> {
        Arc::new(Cancelled { reason: "x".into(), cancelled_at: T, summary: summary() })
    }

    fn every_state() -> [State; 7] {
        [
            State::Queued,
            State::Ready { ready_at: T },
            State::Running { ready_at: T, started_at: T },
            State::Finishing { ready_at: T, started_at: T },
            State::Done(finished()),
            State::Failed(failed()),
            State::Cancelled(cancelled()),
        ]
    }

    fn every_step() -> [Step; 6] {
        [
            Step::Admit(T),
            Step::Start(T),
            Step::AllMoved,
            Step::Finish(finished()),
            Step::Fail(failed()),
            Step::Cancel(cancelled()),
        ]
    }

    #[test]
    fn every_step_from_every_state_leads_where_the_table_says_or_nowhere() {
        use StateName::*;
        // Columns: Admit, Start, AllMoved, Finish, Fail, Cancel.
        let table: [(StateName, [Option<StateName>; 6]); 7] = [
            (Queued, [Some(Ready), None, None, None, Some(Failed), Some(Cancelled)]),
            (Ready, [None, Some(Running), None, None, Some(Failed), Some(Cancelled)]),
            (Running, [None, None, Some(Finishing), None, Some(Failed), Some(Cancelled)]),
            (Finishing, [None, None, None, Some(Done), Some(Failed), Some(Cancelled)]),
            (Done, [None; 6]),
            (Failed, [None; 6]),
            (Cancelled, [None; 6]),
        ];
        for (state, (name, row)) in every_state().into_iter().zip(table) {
            assert_eq!(state.name(), name);
            for (step, expected) in every_step().into_iter().zip(row) {
                let verb = step.verb();
                let after = state.after(step).ok().map(|after| after.name());
                assert_eq!(after, expected, "{name} then {verb}");
            }
        }
    }

    #[test]
    fn an_illegal_step_says_what_was_tried() {
        let error = State::Done(finished()).after(Step::Start(T)).unwrap_err();
        assert_eq!(error.to_string(), "a done transfer cannot start");
    }

    #[test]
    fn the_start_is_remembered_to_the_end() {
        let started: Vec<bool> = every_state().iter().map(|state| state.started_at().is_some()).collect();
        assert_eq!(started, [false, false, true, true, true, true, false]);
    }
}
