//! Writes behind the receiving: slots go to the disk while the next ones fill.
//!
//! Each write is a task of its own, so that its slot is free again as soon as the disk has it, whatever the
//! receiving task waits for at that moment.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use crate::engine::arena::Slot;
use crate::engine::core::Core;
use crate::engine::disk::File;
use crate::engine::file;
use crate::store::Store;
use crate::transfer::Transfer;

/// Slots of one upload on their way to the disk. More gain nothing on one disk (docs/performance.md), and would
/// take them from other uploads.
pub const DEPTH: usize = 6;

/// The writes of one upload.
pub struct Writes {
    core: Rc<Core>,
    file: File,
    uncached: bool,
    shared: Rc<Shared>,
}

struct Shared {
    transfer: Arc<Transfer>,
    store: Arc<Store>,
    in_flight: Cell<usize>,
    failed: RefCell<Option<io::Error>>,
    /// Of every stream of the transfer that waits.
    waiting: RefCell<Vec<Waker>>,
}

impl Shared {
    fn wake(&self) {
        // Taken out first: who is woken may wait again at once.
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Writes {
    /// None yet. `uncached`: leave nothing of it in the page cache. The store hears when one fails.
    pub fn new(
        core: &Rc<Core>,
        file: &File,
        uncached: bool,
        transfer: &Arc<Transfer>,
        store: &Arc<Store>,
    ) -> Writes {
        let shared = Shared {
            transfer: Arc::clone(transfer),
            store: Arc::clone(store),
            in_flight: Cell::new(0),
            failed: RefCell::new(None),
            waiting: RefCell::default(),
        };
        Writes { core: Rc::clone(core), file: File::clone(file), uncached, shared: Rc::new(shared) }
    }

    /// Starts to write the first `length` bytes of a slot, of which the first `payload` count as progress (the rest
    /// is padding).
    pub fn start(&self, slot: Rc<Slot>, length: usize, payload: usize, offset: u64) {
        let shared = Rc::clone(&self.shared);
        shared.in_flight.set(shared.in_flight.get() + 1);
        let (core, file) = (Rc::clone(&self.core), File::clone(&self.file));
        let uncached = self.uncached;
        self.core.spawn(async move {
            let started_at = core.now();
            let (result, slot) = file::write_all(&core, &file, slot, 0..length, offset, uncached).await;
            drop(slot);
            drop(file);
            let progress = shared.transfer.progress();
            progress.disk_written(payload as u64, core.now() - started_at);
            match result {
                Ok(()) => progress.moved(payload as u64),
                Err(error) => {
                    let mut failed = shared.failed.borrow_mut();
                    // One upload counts once, however many of its writes were under way.
                    if failed.is_none() {
                        shared.store.note_write_error(&error);
                        *failed = Some(error);
                    }
                }
            }
            shared.in_flight.set(shared.in_flight.get() - 1);
            shared.wake();
        });
    }

    /// Completes when fewer than `limit` writes are in flight, or one has failed.
    pub async fn fewer_than(&self, limit: usize) -> io::Result<()> {
        poll_fn(|context| {
            if let Some(error) = self.shared.failed.borrow().as_ref() {
                return Poll::Ready(Err(copy(error)));
            }
            if self.shared.in_flight.get() < limit {
                return Poll::Ready(Ok(()));
            }
            self.shared.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Completes when no write is in flight, failed ones or not: only then may the file go.
    pub async fn settled(&self) -> io::Result<()> {
        poll_fn(|context| {
            if self.shared.in_flight.get() == 0 {
                return Poll::Ready(());
            }
            self.shared.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
        self.shared.failed.borrow().as_ref().map_or(Ok(()), |error| Err(copy(error)))
    }

    /// Whether the receiving would have to wait for the disk.
    pub fn behind(&self) -> bool {
        self.shared.in_flight.get() >= DEPTH
    }
}

/// `io::Error` cannot be cloned.
fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
