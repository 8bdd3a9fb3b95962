//! The simulated engine: what the kernel does, done in memory, the same from the same seed, with faults on request.

#![forbid(unsafe_code)]

pub mod disk;
pub mod faults;
pub mod random;

mod content;
