//! The engine: shards of pinned threads, each with a ring, an executor, buffers, timers, sockets and files.
//!
//! ```text
//! shard    a thread: runs tasks, then asks the ring, then runs timers
//!   core     what tasks of a shard share: operations in flight, timers, buffers, spawn
//!   depth    how many reads and writes of files are at the disk at once
//!   op       a future of one operation; owns the operation's resources
//!   ring     what carries operations out: the kernel's io_uring, or the simulation
//!   remote   how other threads reach a shard
//!   arena    the buffers
//!   net      listeners and connections
//!   lend     buffers that another thread reads for a while
//!   file     bulk reads and writes
//!   disk     the file-system calls that are not bulk data
//!   blocking threads for calls that block
//!   sim      simulated ring, network and disk, deterministic from a seed
//! ```
//!
//! Unsafe code of the whole project lives in the ring, buffer and system-call modules of this folder. The rule that
//! makes it sound: an operation's resources (buffer, descriptor) belong to the shard's table of operations until the
//! ring has reported the operation's end, whatever becomes of the future that waits for it.

pub mod arena;
pub mod blocking;
pub mod buffer;
pub mod core;
mod depth;
pub mod disk;
pub mod file;
pub mod lend;
pub mod net;
pub mod op;
pub mod remote;
pub mod ring;
pub mod shard;
pub mod sim;
mod syscall;
pub mod timer;
