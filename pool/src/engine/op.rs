//! One operation in flight, as a future that owns what the operation uses.
//!
//! A future may be dropped at any time; the kernel may still be writing into its buffer then. So dropping hands the
//! resources to the shard's table of operations and asks the ring to cancel; they are released when the ring reports
//! the end. Nothing of it depends on the future being polled again.

use std::any::Any;
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use super::core::Core;
use super::ring::{Completion, Stage};

/// The operations that a shard's ring has not ended, or whose end nobody has taken yet.
#[derive(Default)]
pub(super) struct Table(Slab<Entry>);

struct Entry {
    state: State,
    /// Where the one who asked for a send without a copy is told how that went.
    copied: Option<Rc<Cell<Option<bool>>>>,
}

enum State {
    /// In flight; the future will take the result.
    Waiting(Option<Waker>),
    /// The result is there. `held`: the kernel still reads the memory.
    Done { result: i32, held: bool },
    /// In flight, its future was dropped: keeps its resources until the end.
    Abandoned { _resources: Box<dyn Any>, late: Late },
    /// The result was taken, and the kernel still reads the memory.
    Held { _resources: Box<dyn Any> },
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
    /// A new operation's token. `copied` is told, at the end of a send without a copy, whether there was one.
    pub fn insert(&mut self, copied: Option<Rc<Cell<Option<bool>>>>) -> u64 {
        self.0.insert(Entry { state: State::Waiting(None), copied }) as u64
    }

    /// Forgets an operation that never reached the ring.
    pub fn forget(&mut self, token: u64) {
        self.0.try_remove(token as usize);
    }

    /// Operations that are in flight or not taken.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Records what a completion says. Gives back a waker to call, or resources and a descriptor to let go of.
    pub fn complete(&mut self, completion: Completion) -> Option<Ended> {
        let key = completion.token as usize;
        let entry = self.0.get_mut(key)?;
        match completion.stage {
            Stage::Released { copied } => {
                if let Some(told) = entry.copied.take() {
                    told.set(Some(copied));
                }
                match &mut entry.state {
                    State::Done { held, .. } => {
                        *held = false;
                        None
                    }
                    State::Held { .. } | State::Abandoned { .. } => match self.0.remove(key).state {
                        State::Held { _resources } | State::Abandoned { _resources, .. } => {
                            Some(Ended::Release(_resources, None))
                        }
                        State::Waiting(_) | State::Done { .. } => None,
                    },
                    // The kernel gives the result first.
                    State::Waiting(_) => None,
                }
            }
            stage @ (Stage::Result | Stage::Ended) => {
                let (result, held) = (completion.result, stage == Stage::Result);
                match std::mem::replace(&mut entry.state, State::Done { result, held }) {
                    State::Waiting(waker) => waker.map(Ended::Wake),
                    State::Abandoned { late, _resources } if held => {
                        entry.state = State::Abandoned { late, _resources };
                        None
                    }
                    State::Abandoned { late, _resources } => {
                        self.0.remove(key);
                        let descriptor = (late == Late::Close && result >= 0).then_some(result);
                        Some(Ended::Release(_resources, descriptor))
                    }
                    ended @ (State::Done { .. } | State::Held { .. }) => {
                        entry.state = ended;
                        None
                    }
                }
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
    /// A second handle to the resources, for operations whose memory is read beyond their result.
    spare: Option<Box<dyn Any>>,
    late: Late,
    refused: Option<io::Error>,
}

impl<R: 'static> Operation<R> {
    pub(super) fn in_flight(core: Rc<Core>, token: u64, resources: R, late: Late) -> Operation<R> {
        Operation { core, token, resources: Some(resources), spare: None, late, refused: None }
    }

    /// The same, with a second handle to the resources, which stays until the kernel lets go of the memory.
    pub(super) fn with_spare(mut self, spare: Box<dyn Any>) -> Operation<R> {
        self.spare = Some(spare);
        self
    }

    pub(super) fn refused(core: Rc<Core>, resources: R, error: io::Error) -> Operation<R> {
        Operation {
            core,
            token: u64::MAX,
            resources: Some(resources),
            spare: None,
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
            let spare = self.spare.take();
            let mut table = self.core.operations().borrow_mut();
            let key = self.token as usize;
            match table.0.get_mut(key).map(|entry| &mut entry.state) {
                Some(State::Waiting(waker)) => {
                    match waker {
                        Some(waker) => waker.clone_from(context.waker()),
                        None => *waker = Some(context.waker().clone()),
                    }
                    drop(table);
                    self.spare = spare;
                    return Poll::Pending;
                }
                Some(State::Done { result, held }) => {
                    let (result, held) = (*result, *held);
                    match (table.0.get_mut(key), spare) {
                        (Some(entry), Some(spare)) if held => {
                            entry.state = State::Held { _resources: spare };
                        }
                        _ => {
                            table.0.remove(key);
                        }
                    }
                    u32::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
                }
                Some(State::Abandoned { .. } | State::Held { .. }) | None => {
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
        let key = self.token as usize;
        let Some(entry) = table.0.get_mut(key) else { return };
        match entry.state {
            State::Waiting(_) => {
                entry.state = State::Abandoned { _resources: Box::new(resources), late: self.late };
                drop(table);
                self.core.cancel(self.token);
            }
            State::Done { held: true, .. } => {
                entry.state = State::Held { _resources: Box::new(resources) };
            }
            State::Done { result, held: false } => {
                table.0.remove(key);
                drop(table);
                if self.late == Late::Close && result >= 0 {
                    self.core.close_descriptor(result);
                }
            }
            State::Abandoned { .. } | State::Held { .. } => {}
        }
    }
}
