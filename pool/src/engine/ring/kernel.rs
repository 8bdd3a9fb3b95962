//! The kernel's io_uring as a [`Ring`].
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use super::fixed::Fixed;
use super::{CANCEL_TOKEN, Completion, FIRST_INTERNAL_TOKEN, Job, Memory, Op, Ring, Stage};
use crate::engine::arena::Arena;
use crate::engine::blocking::Blocking;
use crate::engine::net::connect::ConnectOptions;
use crate::engine::net::socket::{KernelSocket, SocketHandle};
use crate::engine::ring::probe::{self, Abilities, RingUnavailable};

/// Submission entries; more operations than that between two waits are handed over early.
const SUBMISSIONS: u32 = 256;
/// Completion entries; the kernel keeps what does not fit.
const COMPLETIONS: u32 = 4096;
/// The token of the wake-up read.
const WAKE_TOKEN: u64 = FIRST_INTERNAL_TOKEN;
/// `IORING_SEND_ZC_REPORT_USAGE`: tell at the end whether the memory was copied (io_uring_enter(2)).
const REPORT_USAGE: u16 = 1 << 3;
/// `IORING_NOTIF_USAGE_ZC_COPIED`: it was.
const USAGE_COPIED: u32 = 1 << 31;

/// A shard's io_uring. Lives on the thread that made it.
pub struct KernelRing {
    ring: IoUring,
    abilities: Abilities,
    fixed: Fixed,
    wake: Arc<OwnedFd>,
    /// Where the kernel writes the wake-up counter. Boxed: its address must not change.
    wake_counter: Box<u64>,
    wake_armed: bool,
    ready: VecDeque<Completion>,
    blocking: Arc<Blocking>,
}

impl KernelRing {
    /// Opens a ring with the best flags that this kernel has. `wake` is an eventfd that ends a wait.
    pub fn open(wake: Arc<OwnedFd>, blocking: Arc<Blocking>) -> Result<KernelRing, RingUnavailable> {
        let (ring, abilities) = probe::open(SUBMISSIONS, COMPLETIONS)?;
        Ok(KernelRing {
            ring,
            abilities,
            fixed: Fixed::default(),
            wake,
            wake_counter: Box::new(0),
            wake_armed: false,
            ready: VecDeque::with_capacity(64),
            blocking,
        })
    }

    /// What was found at opening.
    pub fn abilities(&self) -> Abilities {
        self.abilities
    }

    /// Registers the arena, so that the kernel need not look up its pages at every operation. Fails where the
    /// memlock limit is too small; operations then do without.
    pub fn register(&mut self, arena: &Arena) -> io::Result<()> {
        self.fixed.register(&self.ring.submitter(), arena)
    }

    fn arm_wake(&mut self) -> io::Result<()> {
        if self.wake_armed {
            return Ok(());
        }
        let counter: *mut u64 = &mut *self.wake_counter;
        let entry = opcode::Read::new(types::Fd(self.wake.as_raw_fd()), counter.cast(), 8)
            .build()
            .user_data(WAKE_TOKEN);
        // SAFETY: `wake` and `wake_counter` live as long as the ring; one read at a time uses the counter.
        unsafe { self.push_entry(&entry)? };
        self.wake_armed = true;
        Ok(())
    }

    /// # Safety
    /// As for [`Ring::push`].
    unsafe fn push_entry(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        loop {
            // SAFETY: passed on to the caller.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return Ok(());
            }
            // The queue is full: hand over what is there. EBUSY means that completions must be taken first.
            match self.ring.submit() {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => self.reap(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn reap(&mut self) {
        for entry in self.ring.completion() {
            match entry.user_data() {
                WAKE_TOKEN => self.wake_armed = false,
                CANCEL_TOKEN => {}
                token => self.ready.push_back(Completion {
                    token,
                    result: entry.result(),
                    stage: stage(entry.flags(), entry.result()),
                }),
            }
        }
    }
}

fn stage(flags: u32, result: i32) -> Stage {
    if cqueue::notif(flags) {
        Stage::Released { copied: result as u32 & USAGE_COPIED != 0 }
    } else if cqueue::more(flags) {
        Stage::Result
    } else {
        Stage::Ended
    }
}

/// `buffer`: under which number the kernel knows the operation's memory, if it does.
fn entry(op: Op, buffer: Option<u16>, abilities: Abilities) -> squeue::Entry {
    match op {
        Op::Accept { listener } => {
            opcode::Accept::new(types::Fd(listener), std::ptr::null_mut(), std::ptr::null_mut())
                .flags(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)
                .build()
        }
        Op::Connect { socket, address } => {
            opcode::Connect::new(types::Fd(socket), address.pointer.cast_const().cast(), address.length)
                .build()
        }
        Op::Receive { socket, memory, fill } => {
            opcode::Recv::new(types::Fd(socket), memory.pointer, memory.length)
                .flags(if fill { libc::MSG_WAITALL } else { 0 })
                .build()
        }
        Op::Send { socket, memory, more } => {
            let more = if more { libc::MSG_MORE } else { 0 };
            // Kernels that would not say how much of a cancelled send went out must not try more than once.
            let all = if abilities.keeps_partial { libc::MSG_WAITALL } else { 0 };
            opcode::Send::new(types::Fd(socket), memory.pointer, memory.length)
                .flags(libc::MSG_NOSIGNAL | all | more)
                .build()
        }
        Op::SendZeroCopy { socket, memory } => {
            let all = if abilities.keeps_partial { libc::MSG_WAITALL } else { 0 };
            opcode::SendZc::new(types::Fd(socket), memory.pointer, memory.length)
                .buf_index(buffer)
                .flags(libc::MSG_NOSIGNAL | all)
                .zc_flags(REPORT_USAGE)
                .build()
        }
        Op::Read { file, memory: Memory { pointer, length, .. }, offset, uncached } => {
            let (file, flags) = (types::Fd(file), rw_flags(uncached));
            match buffer {
                Some(buffer) => opcode::ReadFixed::new(file, pointer, length, buffer)
                    .offset(offset)
                    .rw_flags(flags)
                    .build(),
                None => opcode::Read::new(file, pointer, length).offset(offset).rw_flags(flags).build(),
            }
        }
        Op::Write { file, memory: Memory { pointer, length, .. }, offset, uncached } => {
            let (file, flags) = (types::Fd(file), rw_flags(uncached));
            match buffer {
                Some(buffer) => opcode::WriteFixed::new(file, pointer, length, buffer)
                    .offset(offset)
                    .rw_flags(flags)
                    .build(),
                None => opcode::Write::new(file, pointer, length).offset(offset).rw_flags(flags).build(),
            }
        }
        Op::Poll { fd, writable } => {
            let mask = if writable { libc::POLLOUT } else { libc::POLLIN };
            opcode::PollAdd::new(types::Fd(fd), mask as u32).build()
        }
        Op::Cancel { token } => opcode::AsyncCancel::new(token).build(),
    }
}

fn rw_flags(uncached: bool) -> i32 {
    if uncached { libc::RWF_DONTCACHE } else { 0 }
}

impl Ring for KernelRing {
    unsafe fn push(&mut self, token: u64, op: Op) -> io::Result<()> {
        let buffer = match op {
            Op::Read { memory, .. } | Op::Write { memory, .. } | Op::SendZeroCopy { memory, .. } => {
                self.fixed.number_of(&self.ring.submitter(), memory)
            }
            _ => None,
        };
        let entry = entry(op, buffer, self.abilities).user_data(token);
        // SAFETY: passed on to the caller.
        unsafe { self.push_entry(&entry) }
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.arm_wake()?;
        self.reap();
        let outcome = if !self.ready.is_empty() || timeout == Some(Duration::ZERO) {
            // Completions that are deferred to this call (DEFER_TASKRUN) arrive only when it asks for events.
            let now = types::Timespec::new();
            self.ring.submitter().submit_with_args(1, &types::SubmitArgs::new().timespec(&now))
        } else if let Some(timeout) = timeout {
            let timespec = types::Timespec::from(timeout);
            self.ring.submitter().submit_with_args(1, &types::SubmitArgs::new().timespec(&timespec))
        } else {
            self.ring.submit_and_wait(1)
        };
        match outcome {
            Ok(_) => {}
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => {}
                _ => return Err(error),
            },
        }
        self.reap();
        Ok(())
    }

    fn next_completion(&mut self) -> Option<Completion> {
        self.ready.pop_front()
    }

    fn send_cached(&mut self, socket: i32, file: i32, offset: u64, length: u32) -> io::Result<u32> {
        // SAFETY: the caller holds both descriptors open; the borrow ends with this call.
        let (socket, file) = unsafe { (BorrowedFd::borrow_raw(socket), BorrowedFd::borrow_raw(file)) };
        let mut offset = offset;
        let sent = rustix::fs::sendfile(socket, file, Some(&mut offset), length as usize)?;
        Ok(u32::try_from(sent).unwrap_or(length))
    }

    fn open_socket(
        &mut self,
        peer: SocketAddr,
        options: &ConnectOptions,
    ) -> io::Result<Rc<dyn SocketHandle>> {
        Ok(Rc::new(KernelSocket::unconnected(peer, options)?))
    }

    fn offload(&mut self, job: Job) -> io::Result<()> {
        self.blocking.run(job)
    }

    fn now(&self) -> Instant {
        Instant::now()
    }
}
