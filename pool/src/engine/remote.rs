//! How other threads reach a shard: wake it, give it a task, stop it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

use futures_util::future::LocalBoxFuture;

use super::core::Core;

/// Tasks that may wait for a shard to take them.
const INBOX_LIMIT: usize = 1024;

/// Makes a task on the shard's own thread.
pub type Start = Box<dyn FnOnce(Rc<Core>) -> LocalBoxFuture<'static, ()> + Send>;

/// The side of a shard that other threads see. As a waker it makes the shard look at its tasks again.
pub struct Remote {
    /// Ends the shard's wait. `None` in a simulation, which never waits for other threads.
    event: Option<Arc<OwnedFd>>,
    inbox: Mutex<VecDeque<Start>>,
    /// A task can go on, or the inbox has something.
    woken: AtomicBool,
    /// The shard waits, or is about to: only then does waking cost a system call.
    asleep: AtomicBool,
    stopping: AtomicBool,
}

impl Remote {
    /// For a shard that waits on the eventfd.
    pub fn new(event: Option<Arc<OwnedFd>>) -> Arc<Remote> {
        Arc::new(Remote {
            event,
            inbox: Mutex::default(),
            woken: AtomicBool::new(true),
            asleep: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        })
    }

    /// Gives the shard a task. An error when too many wait.
    pub fn submit(&self, start: Start) -> io::Result<()> {
        {
            let mut inbox = self.inbox();
            if inbox.len() >= INBOX_LIMIT || self.stopping.load(SeqCst) {
                return Err(io::Error::new(
                    io::ErrorKind::ResourceBusy,
                    "the shard's inbox is full or closed",
                ));
            }
            inbox.push_back(start);
        }
        self.notify();
        Ok(())
    }

    /// Has the shard drop its tasks and end.
    pub fn stop(&self) {
        self.stopping.store(true, SeqCst);
        self.notify();
    }

    pub(super) fn stopping(&self) -> bool {
        self.stopping.load(SeqCst)
    }

    pub(super) fn take_inbox(&self) -> VecDeque<Start> {
        std::mem::take(&mut *self.inbox())
    }

    /// Whether something came since the last call.
    pub(super) fn take_woken(&self) -> bool {
        self.woken.swap(false, SeqCst)
    }

    /// Announces that the shard is about to wait. True when it must not, as something came in the meantime.
    pub(super) fn fall_asleep(&self) -> bool {
        self.asleep.store(true, SeqCst);
        self.woken.load(SeqCst)
    }

    pub(super) fn wake_up(&self) {
        self.asleep.store(false, SeqCst);
    }

    fn notify(&self) {
        self.woken.store(true, SeqCst);
        if self.asleep.load(SeqCst)
            && let Some(event) = &self.event
        {
            // EAGAIN: the counter is at its end, so the shard will wake anyway.
            let _ = rustix::io::write(event, &1u64.to_ne_bytes());
        }
    }

    fn inbox(&self) -> MutexGuard<'_, VecDeque<Start>> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Remote {
    fn wake(self: Arc<Self>) {
        self.notify();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.notify();
    }
}
