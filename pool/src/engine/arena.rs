//! The buffers of a shard: one huge-page mapping, cut into slots of 1 MiB, registered with the ring.
//!
//! Nothing on the bulk path allocates: a task that has bytes to move takes a slot and gives it back. When none is
//! free it waits in line, and what it would have received stays in the kernel: that is the back-pressure. A slot is
//! owned like a `Box`: by a task, or by an operation in flight.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::ptr::NonNull;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// Size of a slot in bytes: one O_DIRECT write or read, and one checksum block.
pub const SLOT_BYTES: usize = 1 << 20;
/// Huge pages are that large on x86-64 and, with 4 KiB base pages, on arm64.
pub const HUGE_PAGE_BYTES: usize = 2 << 20;

/// A shard's buffers.
#[derive(Clone)]
pub struct Arena(Rc<Inner>);

struct Inner {
    mapping: NonNull<u8>,
    mapping_bytes: usize,
    /// First slot, aligned to a huge page.
    base: NonNull<u8>,
    slots: usize,
    registered: Cell<bool>,
    free: RefCell<Vec<u32>>,
    waiting: RefCell<VecDeque<Rc<Place>>>,
}

/// A place in the line for a slot.
struct Place {
    granted: Cell<Option<u32>>,
    left: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Arena {
    /// Maps room for so many slots. Pages become resident when used or registered.
    pub fn new(slots: usize) -> io::Result<Arena> {
        let slots = slots.clamp(1, u32::MAX as usize);
        let mapping_bytes = slots * SLOT_BYTES + HUGE_PAGE_BYTES;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice touches no memory of ours.
        let mapping = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                mapping_bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )?
        };
        let skip = mapping.align_offset(HUGE_PAGE_BYTES);
        // SAFETY: `skip` is less than a huge page and the mapping is one huge page longer than the slots.
        let base = unsafe { mapping.cast::<u8>().add(skip) };
        // Huge pages are worth up to 2.9 x on O_DIRECT reads; a kernel without them is no error.
        // SAFETY: the range lies in our own mapping.
        let _ = unsafe { madvise(base.cast(), slots * SLOT_BYTES, Advice::LinuxHugepage) };
        let nonnull = |pointer: *mut u8| {
            NonNull::new(pointer).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
        };
        Ok(Arena(Rc::new(Inner {
            mapping: nonnull(mapping.cast())?,
            mapping_bytes,
            base: nonnull(base)?,
            slots,
            registered: Cell::new(false),
            // Low slots first: the fewer are in use, the fewer pages are touched.
            free: RefCell::new((0..slots as u32).rev().collect()),
            waiting: RefCell::new(VecDeque::new()),
        })))
    }

    /// Address and length of all slots, for registering them.
    pub(super) fn region(&self) -> (*mut u8, usize) {
        (self.0.base.as_ptr(), self.0.slots * SLOT_BYTES)
    }

    /// From now on operations on slots name the registered buffer.
    pub(super) fn set_registered(&self) {
        self.0.registered.set(true);
    }

    /// A free slot, if there is one and nobody waits for it.
    pub fn try_take(&self) -> Option<Slot> {
        if !self.0.waiting.borrow().is_empty() {
            return None;
        }
        let index = self.0.free.borrow_mut().pop()?;
        Some(Slot { arena: Rc::clone(&self.0), index })
    }

    /// A slot, first come, first served.
    pub fn take(&self) -> Take {
        let place =
            Rc::new(Place { granted: Cell::new(None), left: Cell::new(false), waker: RefCell::new(None) });
        match self.try_take() {
            Some(slot) => place.granted.set(Some(slot.into_index())),
            None => self.0.waiting.borrow_mut().push_back(Rc::clone(&place)),
        }
        Take { arena: Rc::clone(&self.0), place }
    }

    /// Slots in all.
    pub fn slots(&self) -> usize {
        self.0.slots
    }

    /// Slots in use.
    pub fn used(&self) -> usize {
        self.0.slots - self.0.free.borrow().len()
    }

    /// Tasks that wait for a slot.
    pub fn waiting(&self) -> usize {
        self.0.waiting.borrow().len()
    }
}

impl Inner {
    fn give_back(&self, index: u32) {
        loop {
            // Not `while let`: the borrow must end before the waker runs.
            let next = self.waiting.borrow_mut().pop_front();
            let Some(place) = next else { break };
            if place.left.get() {
                continue;
            }
            place.granted.set(Some(index));
            if let Some(waker) = place.waker.borrow_mut().take() {
                waker.wake();
            }
            return;
        }
        self.free.borrow_mut().push(index);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: every slot holds an `Rc` of this struct, so none is left; the mapping is ours.
        let _ = unsafe { munmap(self.mapping.as_ptr().cast(), self.mapping_bytes) };
    }
}

/// Waiting for a slot.
pub struct Take {
    arena: Rc<Inner>,
    place: Rc<Place>,
}

impl Future for Take {
    type Output = Slot;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Slot> {
        match self.place.granted.take() {
            Some(index) => {
                self.place.left.set(true);
                Poll::Ready(Slot { arena: Rc::clone(&self.arena), index })
            }
            None => {
                *self.place.waker.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Take {
    fn drop(&mut self) {
        self.place.left.set(true);
        if let Some(index) = self.place.granted.take() {
            self.arena.give_back(index);
        }
    }
}

/// One buffer of [`SLOT_BYTES`], aligned to its size.
pub struct Slot {
    arena: Rc<Inner>,
    index: u32,
}

impl Slot {
    /// Whether the ring knows this memory as registered.
    pub fn registered(&self) -> bool {
        self.arena.registered.get()
    }

    fn start(&self) -> *mut u8 {
        // SAFETY: the index is below the number of slots, all of which lie in the mapping.
        unsafe { self.arena.base.as_ptr().add(self.index as usize * SLOT_BYTES) }
    }

    fn into_index(self) -> u32 {
        let index = self.index;
        // SAFETY: the `Rc` is read out once and the slot forgotten, so it is neither leaked nor dropped twice.
        drop(unsafe { std::ptr::read(&self.arena) });
        std::mem::forget(self);
        index
    }
}

impl Deref for Slot {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the slot owns this part of the mapping, which is readable and zeroed or written.
        unsafe { std::slice::from_raw_parts(self.start(), SLOT_BYTES) }
    }
}

impl DerefMut for Slot {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`; `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start(), SLOT_BYTES) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.arena.give_back(self.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn slots_are_aligned_apart_and_given_back() {
        let arena = Arena::new(3).unwrap();
        let mut slots: Vec<Slot> = (0..3).map(|_| arena.try_take().unwrap()).collect();
        assert!(arena.try_take().is_none());
        for (number, slot) in slots.iter_mut().enumerate() {
            assert_eq!(slot.as_ptr() as usize % SLOT_BYTES, 0);
            slot.fill(number as u8 + 1);
        }
        for (number, slot) in slots.iter().enumerate() {
            assert!(slot.iter().all(|byte| *byte == number as u8 + 1));
        }
        drop(slots);
        assert_eq!(arena.used(), 0);
    }

    #[test]
    fn who_waits_first_is_served_first_and_who_leaves_is_passed_over() {
        let arena = Arena::new(1).unwrap();
        let held = arena.try_take().unwrap();
        let (mut first, second, mut third) = (arena.take(), arena.take(), arena.take());
        assert!((&mut first).now_or_never().is_none());
        drop(second);
        drop(held);
        assert!(arena.try_take().is_none(), "a slot that is promised is not to be had");
        let slot = (&mut first).now_or_never().expect("the first in line has it");
        assert!((&mut third).now_or_never().is_none());
        drop(slot);
        let slot = (&mut third).now_or_never().expect("then the third");
        drop(slot);
        assert_eq!((arena.used(), arena.waiting()), (0, 0));
    }

    #[test]
    fn a_promised_slot_that_nobody_takes_goes_back() {
        let arena = Arena::new(1).unwrap();
        let held = arena.try_take().unwrap();
        let waiting = arena.take();
        drop(held);
        drop(waiting);
        assert!(arena.try_take().is_some());
    }
}
