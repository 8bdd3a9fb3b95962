//! Threads for clients' connections, each with a runtime of its own. A connection stays where it was put: a request that
//! needs nobody but the namespace is read, answered and sent on one thread, and wakes no other. A runtime of several
//! threads would hand it from one to the other, which costs more than a brief request itself.
//!
//! What a request has to do with pools goes through the runtime that the door was started on, whose threads hold the
//! connections to them.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How often a thread shows that it turns.
const TURN: Duration = Duration::from_secs(1);

/// Some threads, or none: then connections are served where they are accepted. Cheap to clone; the threads end with the
/// last clone.
#[derive(Debug, Clone, Default)]
pub struct ConnectionThreads(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    threads: Vec<Thread>,
    _end: DropGuard,
}

#[derive(Debug)]
struct Thread {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
    turned_at: Arc<Mutex<Instant>>,
}

/// A connection's place on one of them.
#[derive(Debug)]
pub struct Seat {
    /// Where it is served.
    pub runtime: Handle,
    connections: Arc<AtomicUsize>,
}

impl ConnectionThreads {
    /// Starts so many.
    pub fn start(count: usize) -> io::Result<Self> {
        let end = CancellationToken::new();
        let thread = |number: usize| {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let (handle, end) = (runtime.handle().clone(), end.clone());
            let turned_at = Arc::new(Mutex::new(Instant::now()));
            let turning = turn(Arc::clone(&turned_at));
            let thread = std::thread::Builder::new().name(format!("connections-{number}"));
            thread.spawn(move || runtime.block_on(end.run_until_cancelled_owned(turning)))?;
            Ok(Thread { runtime: handle, connections: Arc::default(), turned_at })
        };
        let threads = (0..count).map(thread).collect::<io::Result<Vec<_>>>()?;
        Ok(Self((count > 0).then(|| Arc::new(Inner { threads, _end: end.drop_guard() }))))
    }

    /// What has not turned for longer than this, if anything: a request that blocks holds up all connections beside it.
    pub fn stuck(&self, limit: Duration) -> Option<String> {
        let late = |thread: &Thread| lock(&thread.turned_at).elapsed() > limit.max(2 * TURN);
        let stuck = self.0.as_ref()?.threads.iter().filter(|thread| late(thread)).count();
        (stuck > 0).then(|| format!("{stuck} of the threads for connections do not turn"))
    }

    /// A place where there are fewest connections.
    pub fn seat(&self) -> Option<Seat> {
        let threads = &self.0.as_ref()?.threads;
        let thread = threads.iter().min_by_key(|thread| thread.connections.load(Ordering::Relaxed))?;
        thread.connections.fetch_add(1, Ordering::Relaxed);
        Some(Seat { runtime: thread.runtime.clone(), connections: Arc::clone(&thread.connections) })
    }
}

/// Shows now and then that its thread gets to everything that waits there.
async fn turn(turned_at: Arc<Mutex<Instant>>) {
    loop {
        tokio::time::sleep(TURN).await;
        *lock(&turned_at) = Instant::now();
    }
}

fn lock(turned_at: &Mutex<Instant>) -> MutexGuard<'_, Instant> {
    // A single value.
    turned_at.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn thread_of(seat: &Seat) -> String {
        let name = || std::thread::current().name().unwrap_or_default().to_owned();
        seat.runtime.spawn(async move { name() }).await.unwrap()
    }

    #[tokio::test]
    async fn connections_go_where_there_are_fewest_and_stay_there() {
        let threads = ConnectionThreads::start(2).unwrap();
        let (first, second) = (threads.seat().unwrap(), threads.seat().unwrap());
        let names = [thread_of(&first).await, thread_of(&second).await];
        assert_ne!(names[0], names[1]);
        assert_eq!(thread_of(&first).await, names[0]);

        drop(second);
        let third = threads.seat().unwrap();

        assert_eq!(thread_of(&third).await, names[1]);
    }

    #[tokio::test]
    async fn a_thread_that_is_held_up_is_told_of() {
        let threads = ConnectionThreads::start(2).unwrap();
        let (gate, held) = std::sync::mpsc::channel::<()>();
        let seat = threads.seat().unwrap();
        let holding = seat.runtime.spawn(async move { held.recv() });
        assert_eq!(threads.stuck(Duration::from_secs(3)), None);

        let told = loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if let Some(told) = threads.stuck(Duration::from_secs(3)) {
                break told;
            }
        };

        assert_eq!(told, "1 of the threads for connections do not turn");
        drop(gate);
        assert!(holding.await.unwrap().is_err());
    }

    #[test]
    fn without_threads_there_is_no_seat() {
        assert!(ConnectionThreads::default().seat().is_none());
        assert!(ConnectionThreads::start(0).unwrap().seat().is_none());
    }
}
