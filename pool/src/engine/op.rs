//! One operation in flight, as a future that owns what the operation uses.
//!
//! A future may be dropped at any time; the kernel may still be writing into its buffer then. So dropping hands the
//! resources to the shard's table of operations and asks the ring to cancel; they are released when the ring reports
//! the end. Nothing of it depends on the future being polled again.

use std::any::Any;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use super::core::Core;
use super::ring::Completion;

/// The operations that a shard's ring has not ended, or whose end nobody has taken yet.
#[derive(Default)]
pub(super) struct Table(Slab<State>);

enum State {
    /// In flight; the future will take the result.
    Waiting(Option<Waker>),
    /// Ended.
    Done(i32),
    /// In flight, its future was dropped: keeps its resources until the end.
    Abandoned { _resources: Box<dyn Any>, late: Late },
}

/// What to do with a result that comes after its future was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Late {
    /// Nothing.
    Ignore,
    /// It is a descriptor: close it.
    Close,
}

impl Table {
    /// A new operation's token.
    pub fn insert(&mut self) -> u64 {
        self.0.insert(State::Waiting(None)) as u64
    }

    /// Forgets an operation that never reached the ring.
    pub fn forget(&mut self, token: u64) {
        self.0.try_remove(token as usize);
    }

    /// Operations that are in flight or not taken.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Records an end. Gives back a waker to call, or a descriptor to close.
    pub fn complete(&mut self, completion: Completion) -> Option<Ended> {
        let key = completion.token as usize;
        let state = self.0.get_mut(key)?;
        match std::mem::replace(state, State::Done(completion.result)) {
            State::Waiting(waker) => waker.map(Ended::Wake),
            State::Abandoned { late, _resources } => {
                self.0.remove(key);
                Some(Ended::Release(
                    _resources,
                    (late == Late::Close && completion.result >= 0).then_some(completion.result),
                ))
            }
            State::Done(first) => {
                *state = State::Done(first);
                None
            }
        }
    }
}

/// What an operation's end calls for.
pub(super) enum Ended {
    /// Somebody waits.
    Wake(Waker),
    /// Nobody waits any more: drop the resources, close the descriptor. Not done inside the table: dropping may
    /// start or end other operations.
    Release(Box<dyn Any>, Option<i32>),
}

/// An operation in flight. Gives the result and the resources back.
pub struct Operation<R: 'static> {
    core: Rc<Core>,
    token: u64,
    resources: Option<R>,
    late: Late,
    refused: Option<io::Error>,
}

impl<R: 'static> Operation<R> {
    pub(super) fn in_flight(core: Rc<Core>, token: u64, resources: R, late: Late) -> Operation<R> {
        Operation { core, token, resources: Some(resources), late, refused: None }
    }

    pub(super) fn refused(core: Rc<Core>, resources: R, error: io::Error) -> Operation<R> {
        Operation {
            core,
            token: u64::MAX,
            resources: Some(resources),
            late: Late::Ignore,
            refused: Some(error),
        }
    }

    /// Asks the ring to end the operation early. Its result still comes: what it had done by then, or `ECANCELED`.
    pub fn cancel(&self) {
        if self.resources.is_some() && self.refused.is_none() {
            self.core.cancel(self.token);
        }
    }
}

/// The resources are moved, never pinned in place.
impl<R> Unpin for Operation<R> {}

impl<R: 'static> Future for Operation<R> {
    type Output = (io::Result<u32>, R);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let result = if let Some(error) = self.refused.take() {
            Err(error)
        } else {
            let mut table = self.core.operations().borrow_mut();
            match table.0.get_mut(self.token as usize) {
                Some(State::Waiting(waker)) => {
                    match waker {
                        Some(waker) => waker.clone_from(context.waker()),
                        None => *waker = Some(context.waker().clone()),
                    }
                    return Poll::Pending;
                }
                Some(State::Done(result)) => {
                    let result = *result;
                    table.0.remove(self.token as usize);
                    u32::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
                }
                Some(State::Abandoned { .. }) | None => {
                    Err(io::Error::other("operation polled after its end"))
                }
            }
        };
        match self.resources.take() {
            Some(resources) => Poll::Ready((result, resources)),
            // Polled after completion, which no caller in this crate does; pending for ever, as the contract allows.
            None => Poll::Pending,
        }
    }
}

impl<R: 'static> Drop for Operation<R> {
    fn drop(&mut self) {
        let Some(resources) = self.resources.take() else { return };
        if self.token == u64::MAX {
            return;
        }
        let mut table = self.core.operations().borrow_mut();
        let Some(state) = table.0.get_mut(self.token as usize) else { return };
        match state {
            State::Waiting(_) => {
                *state = State::Abandoned { _resources: Box::new(resources), late: self.late };
                drop(table);
                self.core.cancel(self.token);
            }
            State::Done(result) => {
                let result = *result;
                table.0.remove(self.token as usize);
                drop(table);
                if self.late == Late::Close && result >= 0 {
                    self.core.close_descriptor(result);
                }
            }
            State::Abandoned { .. } => {}
        }
    }
}
