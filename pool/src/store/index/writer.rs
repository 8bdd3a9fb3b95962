//! Group commit: changes come into a queue; all that wait go into one transaction, whose end releases those who asked
//! for durability.
//!
//! An intent is committed as soon as the writer is free, so that it is durable before whoever has it needs it; what
//! only follows may wait a little for company. On a simulated disk there is no thread: whoever needs durability
//! commits, so that the same seed leads to the same calls.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redb::Database;

use super::change::{Change, commit};
use super::{Broken, Index, open};

/// How long a change that nobody waits for may wait for others to be written with: short against the time in which an
/// operator or a test looks again, long against a commit.
const LAZY_DELAY: Duration = Duration::from_millis(20);
/// Changes that may wait for the writer; whoever has more waits until it has caught up.
const PENDING_MAX: usize = 4096;
/// The thread's name, as `ps -L` shows it (at most 15 bytes).
const THREAD_NAME: &str = "penstock-index";

/// Changes on their way into the index.
pub(super) struct Queue {
    /// Those of the next transaction.
    pub pending: Vec<Change>,
    /// Those of the transaction that is being committed.
    pub committing: Arc<Vec<Change>>,
    /// The number of the next transaction.
    next: u64,
    /// The number of the last one that is durable.
    durable: u64,
    /// Somebody waits, or is about to.
    urgent: bool,
    oldest_at: Option<Instant>,
    closing: bool,
    pub lost: Option<Lost>,
}

/// The index was given up.
pub(super) struct Lost {
    pub because: String,
    /// The next start will make a new one; until that is certain, nothing may be done to a replica.
    pub set_aside: bool,
}

impl Queue {
    pub fn new(lost: Option<Lost>) -> Self {
        Self {
            pending: Vec::new(),
            committing: Arc::default(),
            next: 1,
            durable: 0,
            urgent: false,
            oldest_at: None,
            closing: false,
            lost,
        }
    }
}

/// The transaction that a change went into. `None`: there is no index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "nothing is durable until this has been waited for"]
pub(in crate::store) struct Ticket(Option<u64>);

/// The thread that commits, and those who wait for it or for room in the queue.
#[derive(Default)]
pub(super) struct Writer {
    thread: Mutex<Option<JoinHandle<()>>>,
    work: Condvar,
    /// Everybody waits for the transaction that is being committed or for the next one: by its number, even or odd, each
    /// end wakes only those whom it concerns.
    done: [Condvar; 2],
    /// Held by whoever commits.
    turn: Mutex<()>,
}

impl Writer {
    /// Starts the thread. It ends when the index is closed. Should it not start, whoever needs durability commits.
    pub fn start(index: &Arc<Index>) {
        let ours = index.clone();
        let thread = std::thread::Builder::new()
            .name(THREAD_NAME.to_owned())
            .spawn(move || while ours.write_when_due() {});
        match thread {
            Ok(thread) => {
                *index.writer.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
            }
            Err(error) => tracing::warn!(%error, "the index has no thread of its own and is slower"),
        }
    }

    fn done(&self, transaction: u64) -> &Condvar {
        let [even, odd] = &self.done;
        if transaction.is_multiple_of(2) { even } else { odd }
    }

    fn wake_all(&self) {
        for done in &self.done {
            done.notify_all();
        }
    }

    fn is_running(&self) -> bool {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

impl Index {
    /// Takes changes that nobody waits for: they are in the index a little later, together or not at all.
    pub fn submit(&self, changes: impl IntoIterator<Item = Change>) {
        let _ = self.enqueue(changes, false);
    }

    /// Takes changes that somebody will wait for.
    pub fn submit_soon(&self, changes: impl IntoIterator<Item = Change>) -> Ticket {
        self.enqueue(changes, true)
    }

    /// Whether the writer is far from being behind.
    pub fn has_room(&self) -> bool {
        self.queue().pending.len() < PENDING_MAX / 2
    }

    fn enqueue(&self, changes: impl IntoIterator<Item = Change>, urgent: bool) -> Ticket {
        let has_thread = self.writer.is_running();
        let mut queue = self.queue();
        while queue.pending.len() >= PENDING_MAX && queue.lost.is_none() {
            let next = queue.next;
            queue = self.commit_of(queue, next, has_thread);
        }
        if queue.lost.is_some() {
            return Ticket(None);
        }
        queue.pending.extend(changes);
        if queue.pending.is_empty() {
            return Ticket(Some(queue.next - 1));
        }
        // The writer sleeps while there is nothing, and wakes by itself when what is lazy is due.
        let wake = queue.oldest_at.is_none() || (urgent && !queue.urgent);
        queue.oldest_at.get_or_insert_with(Instant::now);
        queue.urgent |= urgent;
        if wake {
            self.writer.work.notify_all();
        }
        Ticket(Some(queue.next))
    }

    /// Waits for the end of a transaction, of the one that is being committed or of the next; without a writer, commits.
    fn commit_of<'a>(
        &'a self,
        mut queue: MutexGuard<'a, Queue>,
        transaction: u64,
        has_thread: bool,
    ) -> MutexGuard<'a, Queue> {
        if has_thread {
            if transaction == queue.next && !queue.urgent {
                queue.urgent = true;
                self.writer.work.notify_all();
            }
            return self.writer.done(transaction).wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        drop(queue);
        self.write_pending();
        self.queue()
    }

    /// Waits until changes are durable. Where the index has been given up there is nothing to wait for, as soon as it is
    /// certain that the next start makes a new one. Blocks.
    pub fn wait(&self, ticket: Ticket) -> Result<(), String> {
        let Ticket(Some(number)) = ticket else { return self.require_set_aside() };
        let has_thread = self.writer.is_running();
        let mut queue = self.queue();
        while queue.durable < number && queue.lost.is_none() {
            queue = self.commit_of(queue, number, has_thread);
        }
        let durable = queue.durable >= number;
        drop(queue);
        if durable { Ok(()) } else { self.require_set_aside() }
    }

    /// Waits until changes are in the index. Unlike [`Index::wait`], the loss of the index is an error: for what is
    /// nowhere else. Blocks.
    pub fn wait_kept(&self, ticket: Ticket) -> Result<(), String> {
        self.wait(ticket)?;
        let Ticket(number) = ticket;
        let queue = self.queue();
        match (&queue.lost, number) {
            (_, Some(number)) if queue.durable >= number => Ok(()),
            (Some(lost), _) => Err(lost.because.clone()),
            (None, _) => Ok(()),
        }
    }

    /// Brings everything into the index that was submitted before. Blocks.
    pub fn flush(&self) {
        let last = {
            let queue = self.queue();
            let empty = queue.pending.is_empty();
            Ticket(Some(if empty { queue.next - 1 } else { queue.next }))
        };
        // Whether it is lost is for the reader to find out.
        let _ = self.wait(last);
    }

    /// Sleeps until something is due, and writes it. `false` when the index is being closed.
    fn write_when_due(&self) -> bool {
        let mut queue = self.queue();
        while !queue.closing {
            let due = queue.oldest_at.map(|oldest| oldest + LAZY_DELAY);
            let now = Instant::now();
            if queue.urgent && !queue.pending.is_empty() || due.is_some_and(|due| due <= now) {
                drop(queue);
                self.write_pending();
                return true;
            }
            queue = match due {
                Some(due) => {
                    let (queue, _) = self
                        .writer
                        .work
                        .wait_timeout(queue, due.saturating_duration_since(now))
                        .unwrap_or_else(PoisonError::into_inner);
                    queue
                }
                None => self.writer.work.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
        false
    }

    /// Commits what is in the queue.
    fn write_pending(&self) {
        let turn = self.writer.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut queue = self.queue();
        if queue.pending.is_empty() || queue.lost.is_some() {
            queue.urgent = false;
            return;
        }
        let changes = Arc::new(std::mem::take(&mut queue.pending));
        queue.committing = changes.clone();
        let number = queue.next;
        queue.next += 1;
        queue.urgent = false;
        queue.oldest_at = None;
        drop(queue);
        let result = self.with_database(|database| commit(database, &changes));
        if let Some(Err(error)) = result {
            self.give_up(&error);
        }
        let mut queue = self.queue();
        if queue.lost.is_none() {
            queue.durable = number;
        }
        queue.committing = Arc::default();
        drop(queue);
        drop(turn);
        self.writer.done(number).notify_all();
    }

    /// Works with the database; `None` where there is none. A panic in it is an error like any other: it means that
    /// pages are not what was written.
    pub(super) fn with_database<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, Broken>,
    ) -> Option<Result<T, Broken>> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref()?;
        // The database is not used any more after a panic: whoever gets the error gives it up.
        Some(catch_unwind(AssertUnwindSafe(|| work(database))).unwrap_or(Err(Broken::Panicked)))
    }

    /// The index cannot be used any more: the pool works on without, and the next start makes a new one.
    pub(super) fn give_up(&self, error: &Broken) {
        {
            let mut queue = self.queue();
            if queue.lost.is_some() {
                return;
            }
            queue.lost = Some(Lost { because: error.to_string(), set_aside: false });
            queue.pending = Vec::new();
            queue.oldest_at = None;
        }
        tracing::error!(
            directory = %self.directory.display(), error = %error,
            "the index of the replicas cannot be used any more; the pool works on without it and makes a new one when \
             it is started again"
        );
        self.drop_database();
        let _ = self.require_set_aside();
        self.writer.wake_all();
    }

    /// Makes sure that the next start does not believe an index that was given up.
    pub fn require_set_aside(&self) -> Result<(), String> {
        let mut queue = self.queue();
        let Some(lost) = &mut queue.lost else { return Ok(()) };
        if lost.set_aside {
            return Ok(());
        }
        match open::set_aside(&*self.disk, &self.directory) {
            Ok(_) => {
                lost.set_aside = true;
                Ok(())
            }
            Err(error) => Err(format!("{}, nor set aside: {error}", lost.because)),
        }
    }

    /// Writes what is left, and ends the thread. Nothing can be submitted after that.
    pub fn close(&self) {
        self.flush();
        self.queue().closing = true;
        self.writer.work.notify_all();
        let thread = self.writer.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic of it has been reported by then.
            let _ = thread.join();
        }
        self.drop_database();
    }

    /// Writes, if it can, that the database was closed in good order, so that the next start need not walk through it.
    fn drop_database(&self) {
        let database = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        // One that panicked before may do so again.
        let _ = catch_unwind(AssertUnwindSafe(move || drop(database)));
    }
}
