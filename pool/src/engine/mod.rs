//! The engine: shards of pinned threads, each with a ring, an executor, buffers, timers, sockets and files.
//!
//! Unsafe code of the whole project lives in the ring, buffer and socket-option modules of this folder.

pub mod disk;
pub mod sim;
mod syscall;
