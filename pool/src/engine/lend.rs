//! Lends a filled buffer to another thread, which reads it while the ring writes it to the disk.
#![allow(unsafe_code)]

use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use super::arena::Slot;
use super::core::Core;

/// A part of a slot that another thread may read. Dropping it ends the loan.
pub struct Lent {
    start: *const u8,
    length: usize,
    loan: Arc<Mutex<Loan>>,
}

#[derive(Default)]
struct Loan {
    ended: bool,
    waker: Option<Waker>,
}

// SAFETY: the bytes are only read, and `lend` keeps them allocated and unchanged until the loan has ended.
unsafe impl Send for Lent {}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the slot is held by the keeper, which is never dropped before the loan ended.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut loan = self.loan.lock().unwrap_or_else(PoisonError::into_inner);
        loan.ended = true;
        if let Some(waker) = loan.waker.take() {
            waker.wake();
        }
    }
}

/// Holds the slot for the time of the loan. Should the shard end before, the slot is never given back, so that its
/// memory stays.
struct Keeper(Option<Rc<Slot>>);

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            std::mem::forget(slot);
        }
    }
}

/// Lends the first `length` bytes of a slot. The slot stays in use until the loan has ended.
pub fn lend(core: &Rc<Core>, slot: &Rc<Slot>, length: usize) -> Lent {
    let bytes = &slot[..length];
    let loan = Arc::new(Mutex::new(Loan::default()));
    let lent = Lent { start: bytes.as_ptr(), length, loan: Arc::clone(&loan) };
    let mut keeper = Keeper(Some(Rc::clone(slot)));
    core.spawn(async move {
        std::future::poll_fn(|context| {
            let mut loan = loan.lock().unwrap_or_else(PoisonError::into_inner);
            if loan.ended {
                return Poll::Ready(());
            }
            loan.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
        keeper.0.take();
    });
    lent
}
