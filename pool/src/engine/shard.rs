//! Shards: threads that each run a ring and the tasks around it.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use rustix::event::{EventfdFlags, eventfd};

use super::arena::Arena;
use super::blocking::Blocking;
use super::core::Core;
use super::net::zero_copy::Tally;
use super::remote::{Remote, Start};
use super::ring::kernel::KernelRing;
use super::ring::probe::{Abilities, RingUnavailable};

/// How long a stopping shard waits for the kernel to end what is in flight.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Why a shard did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No io_uring.
    #[error(transparent)]
    Ring(#[from] RingUnavailable),
    /// No memory or no thread.
    #[error("cannot start shard {shard}: {error}")]
    Other {
        /// Its number.
        shard: usize,
        /// What the system said.
        error: io::Error,
    },
}

/// A running shard.
pub struct Shard {
    remote: Arc<Remote>,
    thread: Option<JoinHandle<()>>,
    facts: Facts,
}

/// What a shard found when it started.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What the ring offers.
    pub abilities: Abilities,
    /// Why the buffers are not registered, if they are not.
    pub unregistered: Option<String>,
    /// Why the thread is not pinned, if it is not.
    pub unpinned: Option<String>,
    /// What becomes of sending without a copy.
    pub zero_copy: Arc<Tally>,
}

impl Shard {
    /// Starts shard `number`, pinned to the processor of that number, with so many buffers.
    pub fn start(number: usize, slots: usize, blocking: Arc<Blocking>) -> Result<Shard, StartError> {
        let other = move |error: io::Error| StartError::Other { shard: number, error };
        let event = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| other(error.into()))?);
        let remote = Remote::new(Some(Arc::clone(&event)));
        let (report, started) = std::sync::mpsc::channel();
        let their_remote = Arc::clone(&remote);
        let thread = std::thread::Builder::new()
            .name(format!("penstock-shard{number}"))
            .spawn(move || {
                let unpinned = pin_to(number).err().map(|error| error.to_string());
                // The ring belongs to the thread that opens it (SINGLE_ISSUER).
                let opened =
                    KernelRing::open(event, blocking).map_err(StartError::from).and_then(|mut ring| {
                        let arena = Arena::new(slots).map_err(other)?;
                        let unregistered = ring.register(&arena).err();
                        if unregistered.is_none() {
                            arena.set_registered();
                        }
                        Ok((ring, arena, unregistered))
                    });
                match opened {
                    Ok((ring, arena, unregistered)) => {
                        let abilities = ring.abilities();
                        let unregistered = unregistered.map(|error| error.to_string());
                        let (keeps, zero_copy) = (abilities.keeps_partial, abilities.zero_copy_send);
                        let remote = Arc::clone(&their_remote);
                        let core = Core::new(Box::new(ring), remote, arena, keeps, zero_copy, true);
                        let zero_copy = Arc::clone(core.zero_copy_tally());
                        let _ = report.send(Ok(Facts { abilities, unregistered, unpinned, zero_copy }));
                        run(core, &their_remote);
                    }
                    Err(error) => {
                        let _ = report.send(Err(error));
                    }
                }
            })
            .map_err(other)?;
        let facts = started.recv().map_err(|_| other(io::Error::other("its thread ended at once")))??;
        Ok(Shard { remote, thread: Some(thread), facts })
    }

    /// What it found when it started.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Gives the shard a task; `start` runs on the shard's thread. An error when too many wait.
    pub fn submit<F, T>(&self, start: F) -> io::Result<()>
    where
        F: FnOnce(Rc<Core>) -> T + Send + 'static,
        T: Future<Output = ()> + 'static,
    {
        let start: Start = Box::new(move |core| start(core).boxed_local());
        self.remote.submit(start)
    }

    /// Asks the shard to drop its tasks and end.
    pub fn stop(&self) {
        self.remote.stop();
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.remote.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn pin_to(number: usize) -> io::Result<()> {
    let allowed = rustix::thread::sched_getaffinity(None)?;
    let processors: Vec<usize> =
        (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
    let Some(processor) = processors.get(number % processors.len().max(1)) else { return Ok(()) };
    let mut set = rustix::thread::CpuSet::new();
    set.set(*processor);
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

/// The tasks of a shard.
pub(super) struct Tasks {
    running: FuturesUnordered<LocalBoxFuture<'static, ()>>,
    panicked: Rc<Cell<usize>>,
}

impl Tasks {
    pub(super) fn new() -> Tasks {
        Tasks { running: FuturesUnordered::new(), panicked: Rc::default() }
    }

    /// Polls every task that can go on. True when there is more to do at once.
    pub(super) fn run(&mut self, core: &Rc<Core>, remote: &Arc<Remote>, waker: &Waker) -> bool {
        // Before the inbox is looked at: what comes after this look is noted for the next.
        let woken = remote.take_woken();
        let mut added = false;
        for start in remote.take_inbox() {
            let task = start(Rc::clone(core));
            self.push(task);
            added = true;
        }
        for task in core.take_spawned() {
            self.push(task);
            added = true;
        }
        if woken || added {
            let mut context = Context::from_waker(waker);
            while let Poll::Ready(Some(())) = self.running.poll_next_unpin(&mut context) {}
        }
        core.has_spawned()
    }

    /// A task that panics must not take the shard's other transfers with it.
    fn push(&mut self, task: LocalBoxFuture<'static, ()>) {
        let panicked = Rc::clone(&self.panicked);
        let guarded = AssertUnwindSafe(task).catch_unwind().map(move |outcome| {
            if outcome.is_err() {
                panicked.set(panicked.get() + 1);
                tracing::error!(
                    "a task of this shard panicked and was ended; this is a defect, please report it"
                );
            }
        });
        self.running.push(guarded.boxed_local());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Tasks that ended with a panic.
    pub(super) fn panicked(&self) -> usize {
        self.panicked.get()
    }
}

fn run(core: Rc<Core>, remote: &Arc<Remote>) {
    let waker = Waker::from(Arc::clone(remote));
    let mut tasks = Tasks::new();
    while !remote.stopping() {
        // A stop that came since the last look has been taken for a waking by the tasks.
        let busy = tasks.run(&core, remote, &waker) || remote.stopping();
        if let Err(error) = core.turn(busy) {
            tracing::error!(%error, "io_uring failed; this shard cannot go on");
            break;
        }
    }
    // Dropping the tasks cancels what they have in flight; buffers stay until the kernel lets go of them.
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(tasks)));
    let give_up_at = Instant::now() + STOP_LIMIT;
    while core.operations_in_flight() > 0 && Instant::now() < give_up_at {
        let nap = pin!(core.sleep(Duration::from_millis(10)));
        let _ = nap.poll(&mut Context::from_waker(&waker));
        if core.turn(false).is_err() {
            break;
        }
    }
    if core.operations_in_flight() > 0 || dropped.is_err() {
        // The kernel may still write to the buffers: leave them mapped for the little that remains of the process.
        std::mem::forget(core);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::net::{Received, listener};
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpStream};

    /// Whatever comes while a shard is at its tasks must not be forgotten when it goes to sleep.
    #[test]
    fn a_task_that_comes_while_tasks_are_taken_is_not_slept_over() {
        let shard = Shard::start(0, 2, Blocking::new(1)).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let remote = Arc::clone(&shard.remote);
        shard
            .submit(move |_| {
                let second: Start = Box::new(move |_| {
                    tell.send(()).unwrap();
                    async {}.boxed_local()
                });
                remote.submit(second).unwrap();
                async {}
            })
            .unwrap();
        told.recv_timeout(Duration::from_secs(10)).expect("the second task is begun");
    }

    #[test]
    fn a_stop_that_comes_while_tasks_are_taken_is_not_slept_over() {
        let mut shard = Shard::start(0, 2, Blocking::new(1)).unwrap();
        let remote = Arc::clone(&shard.remote);
        shard
            .submit(move |_| {
                remote.stop();
                async {}
            })
            .unwrap();
        let thread = shard.thread.take().unwrap();
        let give_up_at = Instant::now() + Duration::from_secs(10);
        while !thread.is_finished() {
            assert!(Instant::now() < give_up_at, "the shard sleeps on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn shard() -> Shard {
        Shard::start(0, 4, Blocking::new(2)).expect("io_uring is needed for the tests")
    }

    #[test]
    fn a_client_gets_back_what_it_sends_whatever_the_buffers_do() {
        let shard = shard();
        let listener = listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener::address(&listener).unwrap();
        shard
            .submit(move |core| async move {
                let listener = listener::Listener::new(Rc::clone(&core), listener);
                let connection = listener.accept().await.unwrap();
                let mut slot = core.arena().take().await;
                loop {
                    let patience = Duration::from_millis(20);
                    let (received, back) = connection.receive_within(slot, 0..300_000, true, patience).await;
                    slot = back;
                    let count = match received.unwrap() {
                        Received::Bytes(count) | Received::Paused(count) => count,
                        Received::End => break,
                    };
                    let mut sent = 0;
                    while sent < count {
                        let (result, back) = connection.send_within(slot, sent..count, false, patience).await;
                        slot = back;
                        sent += result.unwrap().0;
                    }
                }
                connection.shutdown_send();
            })
            .unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        let sent: Vec<u8> = (0..3_000_000u32).map(|number| (number * 7 / 5) as u8).collect();
        let mut reader = client.try_clone().unwrap();
        let reading = std::thread::spawn(move || {
            let mut received = Vec::new();
            reader.read_to_end(&mut received).unwrap();
            received
        });
        for piece in sent.chunks(700_001) {
            client.write_all(piece).unwrap();
            std::thread::sleep(Duration::from_millis(50));
        }
        client.shutdown(Shutdown::Write).unwrap();
        assert!(reading.join().unwrap() == sent);
    }

    #[test]
    fn a_blocking_job_answers_and_one_that_panics_is_an_error() {
        let shard = shard();
        let (sender, receiver) = std::sync::mpsc::channel();
        shard
            .submit(move |core| async move {
                let good = core.blocking(|| 6 * 7).await;
                let bad: io::Result<()> = core.blocking(|| panic!("on purpose")).await;
                sender.send((good.unwrap(), bad.is_err())).unwrap();
            })
            .unwrap();
        assert_eq!(receiver.recv_timeout(Duration::from_secs(10)).unwrap(), (42, true));
    }

    #[test]
    fn a_stopping_shard_takes_its_operations_back() {
        let shard = shard();
        let listener = listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener::address(&listener).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        shard
            .submit(move |core| async move {
                let listener = listener::Listener::new(Rc::clone(&core), listener);
                let connection = listener.accept().await.unwrap();
                let slot = core.arena().take().await;
                sender.send(()).unwrap();
                let _ = connection.receive(slot, 0..100, true).await;
            })
            .unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        receiver.recv_timeout(Duration::from_secs(10)).unwrap();
        drop(shard);
        assert_eq!(client.read(&mut [0; 1]).unwrap_or(0), 0, "the connection is closed");
    }
}
