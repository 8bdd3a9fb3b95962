//! Threads for calls that block: creating, naming and syncing files. Shared by all shards of a process.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::ring::Job;

/// Jobs that may wait; more are refused, which fails their transfers with "busy" instead of piling up.
const WAITING_LIMIT: usize = 16_384;
/// A thread without work ends after that long.
const IDLE_LIMIT: Duration = Duration::from_secs(30);
/// Jobs are system calls with small arguments.
const STACK_BYTES: usize = 256 << 10;

/// The threads. They start when needed and end when idle, or when this is dropped.
pub struct Blocking {
    shared: Arc<Shared>,
    threads_limit: usize,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Blocking {
    /// At most so many threads.
    pub fn new(threads_limit: usize) -> Arc<Blocking> {
        let shared = Shared { state: Mutex::default(), work: Condvar::new() };
        Arc::new(Blocking { shared: Arc::new(shared), threads_limit: threads_limit.max(1) })
    }

    /// Threads that there are now, and jobs that wait for one.
    pub fn load(&self) -> (usize, usize) {
        let state = self.shared.lock();
        (state.threads, state.jobs.len())
    }

    /// Queues a job.
    pub fn run(&self, job: Job) -> io::Result<()> {
        let mut state = self.shared.lock();
        if state.jobs.len() >= WAITING_LIMIT {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "too many file operations wait for the disk",
            ));
        }
        state.jobs.push_back(job);
        if state.idle >= state.jobs.len() || state.threads >= self.threads_limit {
            self.shared.work.notify_one();
            return Ok(());
        }
        state.threads += 1;
        drop(state);
        let shared = Arc::clone(&self.shared);
        let started = std::thread::Builder::new()
            .name("penstock-disk".into())
            .stack_size(STACK_BYTES)
            .spawn(move || work(&shared));
        if let Err(error) = started {
            let mut state = self.shared.lock();
            state.threads -= 1;
            if state.threads == 0 {
                // Nobody is left to run it.
                state.jobs.pop_back();
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_all();
    }
}

fn work(shared: &Shared) {
    let mut state = shared.lock();
    loop {
        if let Some(job) = state.jobs.pop_front() {
            drop(state);
            job();
            state = shared.lock();
            continue;
        }
        if state.closed {
            break;
        }
        state.idle += 1;
        let (guard, wait) =
            shared.work.wait_timeout(state, IDLE_LIMIT).unwrap_or_else(PoisonError::into_inner);
        state = guard;
        state.idle -= 1;
        if wait.timed_out() && state.jobs.is_empty() {
            break;
        }
    }
    state.threads -= 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn jobs_run_beside_each_other_up_to_the_limit_and_all_of_them_run() {
        let blocking = Blocking::new(4);
        let (sender, receiver) = mpsc::channel();
        for number in 0..100 {
            let sender = sender.clone();
            blocking.run(Box::new(move || sender.send(number).unwrap())).unwrap();
        }
        let mut seen: Vec<i32> = (0..100).map(|_| receiver.recv().unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
        assert!(blocking.shared.lock().threads <= 4);
    }
}
