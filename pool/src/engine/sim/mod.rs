//! The simulated engine: what the kernel does, done in memory, the same from the same seed, with faults on request.

pub mod disk;
pub mod faults;
pub mod net;
pub mod random;
pub mod ring;
pub mod world;

mod content;
