//! What a shard asks its ring to do, and the interface that the kernel's ring and the simulated one share.

mod fixed;
pub mod kernel;
pub mod probe;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::net::connect::ConnectOptions;
use super::net::socket::SocketHandle;

/// Memory that an operation reads or fills.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// First byte.
    pub pointer: *mut u8,
    /// Length in bytes.
    pub length: u32,
    /// It lies in the arena, which is registered with the ring.
    pub registered: bool,
}

/// One operation. Descriptors are plain numbers: the operation's resources keep them open.
#[derive(Debug, Clone, Copy)]
pub enum Op {
    /// Take one connection from a listener; the result is its descriptor.
    Accept {
        /// The listening socket.
        listener: i32,
    },
    /// Connect a socket that [`Ring::open_socket`] made.
    Connect {
        /// The socket.
        socket: i32,
        /// To whom: a `sockaddr`.
        address: Memory,
    },
    /// Receive into memory. 0 at the end of the stream.
    Receive {
        /// The connection.
        socket: i32,
        /// Where to.
        memory: Memory,
        /// Complete only when the memory is full (or the stream ends, fails, or the operation is cancelled).
        fill: bool,
    },
    /// Send from memory.
    Send {
        /// The connection.
        socket: i32,
        /// What.
        memory: Memory,
        /// More follows at once: do not send a short segment for it (MSG_MORE).
        more: bool,
    },
    /// Send from memory without copying it, where the network card can. Two completions: the result, and
    /// [`Stage::Released`] when nothing reads the memory any more, which is when the other side has acknowledged.
    SendZeroCopy {
        /// The connection.
        socket: i32,
        /// What.
        memory: Memory,
    },
    /// Read a file at an offset.
    Read {
        /// The file.
        file: i32,
        /// Where to.
        memory: Memory,
        /// From which byte of the file.
        offset: u64,
        /// Leave nothing of it in the page cache (RWF_DONTCACHE).
        uncached: bool,
    },
    /// Write a file at an offset.
    Write {
        /// The file.
        file: i32,
        /// What.
        memory: Memory,
        /// To which byte of the file.
        offset: u64,
        /// Leave nothing of it in the page cache (RWF_DONTCACHE).
        uncached: bool,
    },
    /// Wait until a descriptor can be read or written (or has failed).
    Poll {
        /// The descriptor.
        fd: i32,
        /// For writing rather than reading.
        writable: bool,
    },
    /// Ask for the end of another operation, which still reports its own result.
    Cancel {
        /// That operation's token.
        token: u64,
    },
}

/// The end of an operation.
#[derive(Debug, Clone, Copy)]
pub struct Completion {
    /// The operation's token.
    pub token: u64,
    /// The system call's result: a count, a descriptor, or a negative errno.
    pub result: i32,
    /// Whether this is the last that is heard of the operation.
    pub stage: Stage,
}

impl Completion {
    /// The end of an operation that completes once.
    pub fn ended(token: u64, result: i32) -> Completion {
        Completion { token, result, stage: Stage::Ended }
    }
}

/// How far a completion brings its operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The result, and the end.
    Ended,
    /// The result; the memory is still being read, until [`Stage::Released`].
    Result,
    /// The end: the memory is free. The kernel tells whether it had copied it after all.
    Released {
        /// It had, so that asking it not to was in vain.
        copied: bool,
    },
}

/// Tokens from here on belong to the ring itself.
pub const FIRST_INTERNAL_TOKEN: u64 = u64::MAX - 15;
/// The token of cancel requests, whose own results nobody waits for.
pub const CANCEL_TOKEN: u64 = u64::MAX - 1;

/// A job for a thread that may block.
pub type Job = Box<dyn FnOnce() + Send>;

/// Carries operations out. One per shard, used by that shard's thread alone.
pub trait Ring {
    /// Queues an operation.
    ///
    /// # Safety
    /// The memory and descriptors that `op` names must stay valid and otherwise unused until the completion with
    /// `token` has been taken from [`Ring::next_completion`].
    #[allow(unsafe_code)]
    unsafe fn push(&mut self, token: u64, op: Op) -> io::Result<()>;

    /// Hands queued operations over and waits for a completion, a wake-up, or the timeout (`None`: for ever).
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// The next completion that has arrived.
    fn next_completion(&mut self) -> Option<Completion>;

    /// Sends bytes of a file that are in the page cache, without waiting for the socket: `WouldBlock` when it is full.
    ///
    /// The caller has seen that the range is cached; else the thread waits for the disk.
    fn send_cached(&mut self, socket: i32, file: i32, offset: u64, length: u32) -> io::Result<u32>;

    /// Makes a socket that an [`Op::Connect`] can connect to `peer`.
    fn open_socket(&mut self, peer: SocketAddr, options: &ConnectOptions)
    -> io::Result<Rc<dyn SocketHandle>>;

    /// Has a job run on a thread that may block.
    fn offload(&mut self, job: Job) -> io::Result<()>;

    /// The time, as this ring's world has it.
    fn now(&self) -> Instant;
}
