//! What the tasks of one shard share: operations in flight, timers, buffers, and the way to spawn more tasks.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::os::fd::{FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_util::future::{Either, LocalBoxFuture, select};

use super::arena::Arena;
use super::depth::Depth;
use super::net::connect::ConnectOptions;
use super::net::socket::SocketHandle;
use super::net::zero_copy::Tally;
use super::op::{Ended, Late, Operation, Table};
use super::remote::Remote;
use super::ring::{Completion, Op, Ring};
use super::timer::{Sleep, Timers};

/// A shard as its tasks see it.
pub struct Core {
    ring: RefCell<Box<dyn Ring>>,
    remote: Arc<Remote>,
    operations: RefCell<Table>,
    disk: Depth,
    timers: Timers,
    spawned: RefCell<Vec<LocalBoxFuture<'static, ()>>>,
    arena: Arena,
    /// The ring reports what a cancelled filling receive had received.
    keeps_partial: bool,
    /// The ring can send without a copy.
    sends_zero_copy: bool,
    zero_copy_tally: Arc<Tally>,
    /// Descriptors are real ones (not those of a simulation).
    real: bool,
}

impl Core {
    /// A shard over a ring. `keeps_partial` and `sends_zero_copy` as in [`super::ring::probe::Abilities`].
    pub fn new(
        ring: Box<dyn Ring>,
        remote: Arc<Remote>,
        arena: Arena,
        keeps_partial: bool,
        sends_zero_copy: bool,
        real: bool,
    ) -> Rc<Core> {
        Rc::new(Core {
            ring: RefCell::new(ring),
            remote,
            operations: RefCell::default(),
            disk: Depth::default(),
            timers: Timers::default(),
            spawned: RefCell::default(),
            arena,
            keeps_partial,
            sends_zero_copy,
            zero_copy_tally: Arc::default(),
            real,
        })
    }

    /// The shard's buffers.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// Whether filling receives may be cancelled without losing data.
    pub fn keeps_partial(&self) -> bool {
        self.keeps_partial
    }

    /// Whether the ring can send without a copy.
    pub fn sends_zero_copy(&self) -> bool {
        self.sends_zero_copy
    }

    /// What became of that, connection by connection.
    pub fn zero_copy_tally(&self) -> &Arc<Tally> {
        &self.zero_copy_tally
    }

    /// Operations that the ring has not ended, or whose end was not taken.
    pub fn operations_in_flight(&self) -> usize {
        self.operations.borrow().len()
    }

    /// From now on at most so many reads and writes of files are at the disk at once, and the others wait for their
    /// turn; `None`: as many as there are.
    pub fn limit_disk_depth(&self, limit: Option<NonZeroUsize>) {
        self.disk.set_limit(limit);
    }

    /// Reads and writes of files: those at the disk, where their number is limited, and those that wait.
    pub fn disk_operations(&self) -> (usize, usize) {
        (self.disk.in_flight(), self.disk.waiting())
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.ring.borrow().now()
    }

    /// Completes after a while.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.timers.at(self.now() + duration)
    }

    /// Completes at an instant.
    pub fn sleep_until(&self, due_at: Instant) -> Sleep {
        self.timers.at(due_at)
    }

    /// A future's output, or `None` when it takes longer than that; the future is dropped then.
    pub async fn within<F: Future>(&self, duration: Duration, future: F) -> Option<F::Output> {
        let future = std::pin::pin!(future);
        match select(future, self.sleep(duration)).await {
            Either::Left((output, _)) => Some(output),
            Either::Right(((), _)) => None,
        }
    }

    /// Starts a task on this shard.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.spawned.borrow_mut().push(Box::pin(task));
    }

    /// Runs a job that may block on a thread of its own. An error when there are too many, or when it panicked.
    pub fn blocking<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Waiting<T> {
        let answer = Arc::new(Mutex::new(Answer { value: None, waker: None }));
        let reply = Arc::clone(&answer);
        let offloaded = self.ring.borrow_mut().offload(Box::new(move || {
            let value = catch_unwind(AssertUnwindSafe(job))
                .map_err(|_| io::Error::other("a blocking job panicked; this is a defect, please report it"));
            let mut answer = reply.lock().unwrap_or_else(PoisonError::into_inner);
            answer.value = Some(value);
            if let Some(waker) = answer.waker.take() {
                waker.wake();
            }
        }));
        if let Err(error) = offloaded {
            answer.lock().unwrap_or_else(PoisonError::into_inner).value = Some(Err(error));
        }
        Waiting(answer)
    }

    /// Sends cached bytes of a file to a connection at once; see [`Ring::send_cached`].
    pub(super) fn send_cached(&self, socket: i32, file: i32, offset: u64, length: u32) -> io::Result<u32> {
        self.ring.borrow_mut().send_cached(socket, file, offset, length)
    }

    /// A socket to connect; see [`Ring::open_socket`].
    pub(super) fn open_socket(
        &self,
        peer: SocketAddr,
        options: &ConnectOptions,
    ) -> io::Result<Rc<dyn SocketHandle>> {
        self.ring.borrow_mut().open_socket(peer, options)
    }

    /// Starts an operation that owns `resources`.
    ///
    /// # Safety
    /// The memory and descriptors that `op` names belong to `resources`, do not move with them, and are used by
    /// nobody else until the operation has ended.
    pub(super) unsafe fn start<R: 'static>(
        self: &Rc<Self>,
        op: Op,
        resources: R,
        late: Late,
    ) -> Operation<R> {
        let token = self.operations.borrow_mut().insert(None);
        let pushed = match self.disk.admit(token, op) {
            // SAFETY: passed on to the caller; `Operation` keeps the resources until the completion.
            Some(op) => unsafe { self.ring.borrow_mut().push(token, op) },
            None => Ok(()),
        };
        match pushed {
            Ok(()) => Operation::in_flight(Rc::clone(self), token, resources, late),
            Err(error) => {
                self.operations.borrow_mut().forget(token);
                // There was a place for it, so nobody waits for the one that it gives back.
                self.disk.ended(token);
                Operation::refused(Rc::clone(self), resources, error)
            }
        }
    }

    /// Starts a send without a copy; its memory stays until the kernel lets go of it, which may be long after the
    /// result. `copied` is told then whether there was a copy after all.
    ///
    /// # Safety
    /// As for [`Core::start`]; a clone of `resources` keeps the memory as well as the original does, and nobody writes
    /// to it as long as there is one.
    pub(super) unsafe fn start_zero_copy<R: Clone + 'static>(
        self: &Rc<Self>,
        op: Op,
        resources: R,
        copied: Rc<Cell<Option<bool>>>,
    ) -> Operation<R> {
        let token = self.operations.borrow_mut().insert(Some(copied));
        // SAFETY: passed on to the caller; the table keeps a clone until the kernel has let go.
        let pushed = unsafe { self.ring.borrow_mut().push(token, op) };
        match pushed {
            Ok(()) => {
                let spare = Box::new(resources.clone());
                Operation::in_flight(Rc::clone(self), token, resources, Late::Ignore).with_spare(spare)
            }
            Err(error) => {
                self.operations.borrow_mut().forget(token);
                Operation::refused(Rc::clone(self), resources, error)
            }
        }
    }

    pub(super) fn operations(&self) -> &RefCell<Table> {
        &self.operations
    }

    /// Asks the ring to end an operation. Should the ring refuse even that, the operation ends when it ends.
    pub(super) fn cancel(&self, token: u64) {
        if self.disk.withdraw(token) {
            // The ring has never heard of it.
            return self.settle(Completion::ended(token, -libc::ECANCELED));
        }
        // SAFETY: a cancel request names no memory and no descriptor.
        let _ = unsafe { self.ring.borrow_mut().push(super::ring::CANCEL_TOKEN, Op::Cancel { token }) };
    }

    /// Closes a descriptor that an operation made after everybody had left.
    pub(super) fn close_descriptor(&self, descriptor: i32) {
        if self.real {
            // SAFETY: the kernel just gave us this descriptor and nobody else has seen it.
            drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
        }
    }

    pub(super) fn take_spawned(&self) -> Vec<LocalBoxFuture<'static, ()>> {
        std::mem::take(&mut *self.spawned.borrow_mut())
    }

    pub(super) fn has_spawned(&self) -> bool {
        !self.spawned.borrow().is_empty()
    }

    /// Lets the ring work and wakes those whose operations ended or timers are due. Waits for something to happen
    /// unless `busy`.
    pub(super) fn turn(&self, busy: bool) -> io::Result<()> {
        let busy = self.remote.fall_asleep() || busy;
        let timeout = if busy {
            Some(Duration::ZERO)
        } else {
            self.timers.next_due().map(|due_at| due_at.saturating_duration_since(self.now()))
        };
        let waited = self.ring.borrow_mut().wait(timeout);
        self.remote.wake_up();
        waited?;
        loop {
            let Some(completion) = self.ring.borrow_mut().next_completion() else { break };
            let of_disk = self.disk.ended(completion.token);
            self.settle(completion);
            if of_disk {
                self.start_held();
            }
        }
        self.timers.fire(self.now());
        Ok(())
    }
}

impl Core {
    /// Records an operation's end, and wakes who waits for it or lets go of what nobody waits for.
    fn settle(&self, completion: Completion) {
        let ended = self.operations.borrow_mut().complete(completion);
        match ended {
            Some(Ended::Wake(waker)) => waker.wake(),
            Some(Ended::Release(resources, descriptor)) => {
                drop(resources);
                if let Some(descriptor) = descriptor {
                    self.close_descriptor(descriptor);
                }
            }
            None => {}
        }
    }

    /// Hands on what was held back and whose turn has come.
    fn start_held(&self) {
        while let Some((token, op)) = self.disk.next() {
            // SAFETY: it was given to `start`, whose caller vouched for it; its `Operation`, or the table, has kept its
            // resources since.
            let pushed = unsafe { self.ring.borrow_mut().push(token, op) };
            if let Err(error) = pushed {
                self.disk.ended(token);
                self.settle(Completion::ended(token, -error.raw_os_error().unwrap_or(libc::EIO)));
            }
        }
    }
}

struct Answer<T> {
    value: Option<io::Result<T>>,
    waker: Option<Waker>,
}

/// Waiting for a blocking job.
pub struct Waiting<T>(Arc<Mutex<Answer<T>>>);

impl<T> Future for Waiting<T> {
    type Output = io::Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut answer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match answer.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                answer.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
