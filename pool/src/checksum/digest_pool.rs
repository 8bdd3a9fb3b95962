//! Threads that compute slow digests (md5, sha) beside the data path.
//!
//! A shard gives each chunk's buffer away and gets it back when the chunk has been digested: the pool drops it, and
//! dropping is the signal. Chunks of one stream are digested in the order they were given; streams take turns, one
//! chunk each, so that a large upload does not hold up a small one. Nothing here blocks the caller: a stream whose
//! queue is full hands the buffer back, which is the back-pressure.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::{fmt, io};

use super::{Algorithm, Checksum, MultiHasher};

/// Chunks of one stream that may be in the pool, the one that is being digested included. The budget of buffers is the pool's; this only bounds how far
/// one stream's digests may fall behind its data.
pub const QUEUED_CHUNKS_PER_STREAM: usize = 8;

/// The threads. Dropping it ends them after the chunk that each has in hand; what is queued then is cancelled.
pub struct DigestPool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// Why a chunk was not taken; the buffer comes back.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused<B> {
    /// Too many chunks of this stream are in the pool. As soon as one of them is dropped there is room again.
    Full(B),
    /// The pool is being shut down, or a buffer of this stream panicked: there will be no checksums.
    Stopped(B),
}

type Finish = Box<dyn FnOnce(Vec<Checksum>) + Send>;

/// A stream has at most one entry in `ready`, and is worked on by at most one thread: `Stream::scheduled` sees to it.
struct Shared {
    ready: Mutex<VecDeque<Arc<dyn Turn>>>,
    work: Condvar,
    stopping: AtomicBool,
}

/// A stream as the threads see it, whatever its buffers are.
trait Turn: Send + Sync {
    /// Digests one chunk, or finishes. `true` if there is more to do.
    fn turn(&self) -> bool;
    /// Gives up: buffers are dropped, the callback is dropped without being called.
    fn cancel(&self);
}

impl DigestPool {
    /// Starts the threads, at least one.
    pub fn new(threads: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            ready: Mutex::default(),
            work: Condvar::new(),
            stopping: AtomicBool::new(false),
        });
        let mut pool = Self { shared, threads: Vec::new() };
        for i in 0..threads.max(1) {
            let shared = Arc::clone(&pool.shared);
            pool.threads
                .push(thread::Builder::new().name(format!("digest-{i}")).spawn(move || shared.run())?);
        }
        Ok(pool)
    }

    /// Streams that wait for a thread.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.ready.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// A new stream over nothing.
    pub fn stream<B>(&self, algorithms: impl IntoIterator<Item = Algorithm>) -> DigestStream<B>
    where
        B: AsRef<[u8]> + Send + 'static,
    {
        let stream = Stream {
            inner: Mutex::new(Inner {
                chunks: VecDeque::new(),
                in_hand: false,
                hasher: Some(MultiHasher::new(algorithms)),
                finish: None,
                scheduled: false,
                cancelled: false,
            }),
        };
        DigestStream { shared: Arc::clone(&self.shared), stream: Arc::new(stream), finishing: false }
    }
}

impl Drop for DigestPool {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Taking the lock makes sure that no thread is between its look at `stopping` and its wait.
        let abandoned = std::mem::take(&mut *lock(&self.shared.ready));
        self.shared.work.notify_all();
        for stream in abandoned {
            stream.cancel();
        }
        let this_thread = thread::current().id();
        for thread in self.threads.drain(..) {
            // The last owner may be a callback that runs on one of the threads.
            if thread.thread().id() != this_thread {
                let _ = thread.join();
            }
        }
    }
}

impl fmt::Debug for DigestPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DigestPool({} threads)", self.threads.len())
    }
}

impl Shared {
    fn run(&self) {
        while let Some(stream) = self.next() {
            if stream.turn() {
                self.schedule(stream);
            }
        }
    }

    fn next(&self) -> Option<Arc<dyn Turn>> {
        let mut ready = lock(&self.ready);
        loop {
            if self.stopping.load(Ordering::SeqCst) {
                return None;
            }
            if let Some(stream) = ready.pop_front() {
                return Some(stream);
            }
            ready = self.work.wait(ready).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Puts a stream behind the others that are ready. Streams of a pool that stops are cancelled instead.
    fn schedule(&self, stream: Arc<dyn Turn>) {
        let mut ready = lock(&self.ready);
        if self.stopping.load(Ordering::SeqCst) {
            drop(ready);
            stream.cancel();
            return;
        }
        ready.push_back(stream);
        drop(ready);
        self.work.notify_one();
    }
}

/// One stream's place in the pool: where its owner puts chunks. Dropping it cancels the computation.
pub struct DigestStream<B: AsRef<[u8]> + Send + 'static> {
    shared: Arc<Shared>,
    stream: Arc<Stream<B>>,
    finishing: bool,
}

impl<B: AsRef<[u8]> + Send + 'static> DigestStream<B> {
    /// Gives the next chunk. It is dropped, on one of the pool's threads, when it has been digested.
    pub fn try_update(&self, chunk: B) -> Result<(), Refused<B>> {
        if self.shared.stopping.load(Ordering::SeqCst) {
            return Err(Refused::Stopped(chunk));
        }
        let mut inner = lock(&self.stream.inner);
        if inner.cancelled {
            return Err(Refused::Stopped(chunk));
        }
        if inner.chunks.len() + usize::from(inner.in_hand) >= QUEUED_CHUNKS_PER_STREAM {
            return Err(Refused::Full(chunk));
        }
        inner.chunks.push_back(chunk);
        self.wake(inner);
        Ok(())
    }

    /// Says that all chunks have been given. `callback` is called once, on one of the pool's threads, with the
    /// checksums in listing order; it is dropped without being called if the pool stops before.
    pub fn finish(mut self, callback: Finish) {
        self.finishing = true;
        let mut inner = lock(&self.stream.inner);
        if inner.cancelled || self.shared.stopping.load(Ordering::SeqCst) {
            // Outside the lock, as whatever the callback owns may look at this pool when it is dropped.
            drop(inner);
            drop(callback);
            return;
        }
        inner.finish = Some(callback);
        self.wake(inner);
    }

    fn wake(&self, mut inner: MutexGuard<'_, Inner<B>>) {
        if !inner.scheduled {
            inner.scheduled = true;
            drop(inner);
            self.shared.schedule(Arc::clone(&self.stream) as Arc<dyn Turn>);
        }
    }
}

impl<B: AsRef<[u8]> + Send + 'static> Drop for DigestStream<B> {
    fn drop(&mut self) {
        if !self.finishing {
            self.stream.cancel();
        }
    }
}

impl<B: AsRef<[u8]> + Send + 'static> fmt::Debug for DigestStream<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DigestStream({} chunks wait)", lock(&self.stream.inner).chunks.len())
    }
}

struct Stream<B> {
    inner: Mutex<Inner<B>>,
}

struct Inner<B> {
    chunks: VecDeque<B>,
    /// A thread digests a chunk.
    in_hand: bool,
    /// Away while a thread works with it, and after the end.
    hasher: Option<MultiHasher>,
    finish: Option<Finish>,
    /// In the ready queue, or in a thread's hands.
    scheduled: bool,
    cancelled: bool,
}

/// What a turn found to do.
enum Job<B> {
    Chunk(B, MultiHasher),
    Finish(Finish, MultiHasher),
}

impl<B> Stream<B> {
    fn take_job(&self) -> Option<Job<B>> {
        let mut inner = lock(&self.inner);
        let hasher = inner.hasher.take();
        let (chunk, hasher) = match (inner.chunks.pop_front(), hasher) {
            (chunk, Some(hasher)) => (chunk, hasher),
            (_, None) => {
                inner.scheduled = false;
                return None;
            }
        };
        if let Some(chunk) = chunk {
            inner.in_hand = true;
            return Some(Job::Chunk(chunk, hasher));
        }
        if let Some(finish) = inner.finish.take() {
            return Some(Job::Finish(finish, hasher));
        }
        inner.hasher = Some(hasher);
        inner.scheduled = false;
        None
    }

    /// Puts the state back after a chunk. `true` if there is more to do.
    fn put_back(&self, hasher: MultiHasher) -> bool {
        let mut inner = lock(&self.inner);
        inner.in_hand = false;
        if !inner.cancelled {
            inner.hasher = Some(hasher);
        }
        inner.scheduled = !inner.cancelled && (!inner.chunks.is_empty() || inner.finish.is_some());
        inner.scheduled
    }
}

impl<B: AsRef<[u8]> + Send> Turn for Stream<B> {
    fn turn(&self) -> bool {
        let Some(job) = self.take_job() else { return false };
        // A panic in a buffer's or callback's own code must not take the thread, and every later stream, with it.
        // Of this stream nothing is left then: its hasher is gone with the panic.
        let outcome = catch_unwind(AssertUnwindSafe(|| match job {
            Job::Chunk(chunk, mut hasher) => {
                hasher.update(chunk.as_ref());
                let more = self.put_back(hasher);
                // Last, so that whoever is woken by it finds room in the queue and the state settled.
                drop(chunk);
                more
            }
            Job::Finish(finish, hasher) => {
                finish(hasher.finish());
                false
            }
        }));
        outcome.unwrap_or_else(|_| {
            self.cancel();
            false
        })
    }

    fn cancel(&self) {
        let mut inner = lock(&self.inner);
        inner.cancelled = true;
        inner.hasher = None;
        let (chunks, finish) = (std::mem::take(&mut inner.chunks), inner.finish.take());
        // Their destructors run outside the lock: they may look at this stream.
        drop(inner);
        drop((chunks, finish));
    }
}

/// No code of others runs under these locks, so a poisoned one guards a consistent state.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// Long enough for a loaded machine; only ever waited out by a failing test.
    const SOON: Duration = Duration::from_secs(30);

    /// A buffer that reports when it is dropped, and can hold its thread until it is let go.
    struct Chunk {
        data: Vec<u8>,
        dropped: Option<mpsc::Sender<u8>>,
        gate: Option<(mpsc::Sender<()>, Mutex<mpsc::Receiver<()>>)>,
        panics: bool,
    }

    impl Chunk {
        fn new(data: impl Into<Vec<u8>>) -> Self {
            Self { data: data.into(), dropped: None, gate: None, panics: false }
        }
        fn reporting(mut self, dropped: &mpsc::Sender<u8>) -> Self {
            self.dropped = Some(dropped.clone());
            self
        }
        fn panicking(mut self) -> Self {
            self.panics = true;
            self
        }
    }

    impl AsRef<[u8]> for Chunk {
        fn as_ref(&self) -> &[u8] {
            if let Some((entered, gate)) = &self.gate {
                let _ = entered.send(());
                let _ = gate.lock().unwrap().recv();
            }
            assert!(!self.panics, "a buffer that panics, for the test");
            &self.data
        }
    }

    impl Drop for Chunk {
        fn drop(&mut self) {
            if let Some(dropped) = &self.dropped {
                let _ = dropped.send(self.data[0]);
            }
        }
    }

    /// A stream whose first chunk, `[0]`, is in a thread's hands and stays there until a `()` is sent.
    fn held(pool: &DigestPool, dropped: &mpsc::Sender<u8>) -> (DigestStream<Chunk>, mpsc::Sender<()>) {
        let (entered, has_entered) = mpsc::channel();
        let (open, gate) = mpsc::channel();
        let mut chunk = Chunk::new([0]).reporting(dropped);
        chunk.gate = Some((entered, Mutex::new(gate)));
        let stream = pool.stream([Algorithm::Md5]);
        stream.try_update(chunk).ok().unwrap();
        has_entered.recv_timeout(SOON).unwrap();
        (stream, open)
    }

    fn finish<B: AsRef<[u8]> + Send>(stream: DigestStream<B>) -> mpsc::Receiver<Vec<Checksum>> {
        let (send, receive) = mpsc::channel();
        stream.finish(Box::new(move |checksums| {
            let _ = send.send(checksums);
        }));
        receive
    }

    fn expected(algorithms: &[Algorithm], data: &[u8]) -> Vec<Checksum> {
        let mut hasher = MultiHasher::new(algorithms.iter().copied());
        hasher.update(data);
        hasher.finish()
    }

    #[test]
    fn many_streams_at_once_each_get_their_own_checksums() {
        let pool = DigestPool::new(3).unwrap();
        let algorithms = [Algorithm::Md5, Algorithm::Sha256];
        let results: Vec<_> = (0..20u8)
            .map(|n| {
                let stream = pool.stream(algorithms);
                let mut whole = Vec::new();
                for piece in 0..50u8 {
                    let mut chunk = vec![n ^ piece; 100 + usize::from(piece)];
                    whole.extend_from_slice(&chunk);
                    while let Err(refused) = stream.try_update(chunk) {
                        let Refused::Full(back) = refused else { panic!("stopped") };
                        chunk = back;
                        thread::yield_now();
                    }
                }
                (whole, finish(stream))
            })
            .collect();
        for (whole, result) in results {
            assert_eq!(result.recv_timeout(SOON).unwrap(), expected(&algorithms, &whole));
        }
    }

    #[test]
    fn no_chunks_give_the_checksum_of_nothing() {
        let pool = DigestPool::new(1).unwrap();
        let result = finish(pool.stream::<Vec<u8>>([Algorithm::Md5]));
        assert_eq!(result.recv_timeout(SOON).unwrap(), expected(&[Algorithm::Md5], b""));
    }

    #[test]
    fn a_full_queue_hands_the_buffer_back_until_a_chunk_is_done() {
        // Given a stream that has all the chunks it may have, the first of them in the thread's hands
        let pool = DigestPool::new(1).unwrap();
        let (dropped, drops) = mpsc::channel();
        let (stream, open) = held(&pool, &dropped);
        let beyond = QUEUED_CHUNKS_PER_STREAM as u8;
        for n in 1..beyond {
            stream.try_update(Chunk::new([n]).reporting(&dropped)).ok().unwrap();
        }
        // When one more is given, then it comes back
        let Err(Refused::Full(back)) = stream.try_update(Chunk::new([beyond]).reporting(&dropped)) else {
            panic!("taken, or stopped")
        };
        assert_eq!(back.data, [beyond]);
        // And when the first is done, then there is room, and all come out in order
        open.send(()).unwrap();
        assert_eq!(drops.recv_timeout(SOON), Ok(0));
        stream.try_update(back).ok().unwrap();
        let result = finish(stream);
        let whole: Vec<u8> = (0..=beyond).collect();
        assert_eq!(result.recv_timeout(SOON).unwrap(), expected(&[Algorithm::Md5], &whole));
        assert_eq!(drops.try_iter().collect::<Vec<_>>(), whole[1..]);
    }

    #[test]
    fn streams_take_turns() {
        // Given one thread, held up, and two streams with two chunks each behind it
        let pool = DigestPool::new(1).unwrap();
        let (dropped, drops) = mpsc::channel();
        let (_held, open) = held(&pool, &dropped);
        let (a, b) = (pool.stream([Algorithm::Md5]), pool.stream([Algorithm::Md5]));
        for (stream, name) in [(&a, 10), (&a, 11), (&b, 20), (&b, 21)] {
            stream.try_update(Chunk::new([name]).reporting(&dropped)).ok().unwrap();
        }
        // When the thread goes on, then neither stream has both its chunks done before the other has one
        open.send(()).unwrap();
        let order: Vec<u8> = (0..5).map(|_| drops.recv_timeout(SOON).unwrap()).collect();
        assert_eq!(order, [0, 10, 20, 11, 21]);
    }

    #[test]
    fn dropping_a_stream_cancels_it_and_returns_its_buffers() {
        let pool = DigestPool::new(1).unwrap();
        let (dropped, drops) = mpsc::channel();
        let (held, open) = held(&pool, &dropped);
        let cancelled = pool.stream([Algorithm::Md5]);
        cancelled.try_update(Chunk::new([1]).reporting(&dropped)).ok().unwrap();
        drop(cancelled);
        assert_eq!(drops.try_recv(), Ok(1), "at once, not when its turn comes");
        open.send(()).unwrap();
        assert_eq!(finish(held).recv_timeout(SOON).unwrap(), expected(&[Algorithm::Md5], &[0]));
    }

    #[test]
    fn a_buffer_that_panics_ends_its_own_stream_only() {
        let pool = DigestPool::new(1).unwrap();
        let (bad, good) = (pool.stream([Algorithm::Md5]), pool.stream([Algorithm::Md5]));
        bad.try_update(Chunk::new([1]).panicking()).ok().unwrap();
        good.try_update(Chunk::new([2])).ok().unwrap();
        assert_eq!(finish(bad).recv_timeout(SOON), Err(mpsc::RecvTimeoutError::Disconnected));
        assert_eq!(finish(good).recv_timeout(SOON).unwrap(), expected(&[Algorithm::Md5], &[2]));
    }

    #[test]
    fn a_pool_that_stops_drops_what_is_queued_and_takes_no_more() {
        let pool = DigestPool::new(1).unwrap();
        let (dropped, drops) = mpsc::channel();
        let (held, open) = held(&pool, &dropped);
        let waiting = pool.stream([Algorithm::Md5]);
        waiting.try_update(Chunk::new([1]).reporting(&dropped)).ok().unwrap();
        let result = finish(waiting);
        let stopper = thread::spawn(move || drop(pool));
        assert_eq!(result.recv_timeout(SOON), Err(mpsc::RecvTimeoutError::Disconnected));
        assert_eq!(drops.recv_timeout(SOON), Ok(1));
        open.send(()).unwrap();
        stopper.join().unwrap();
        assert!(matches!(held.try_update(Chunk::new([2])), Err(Refused::Stopped(_))));
    }
}
