//! A simulated kernel for tests: ring, network and disk, deterministic from a seed.

pub mod disk;
pub mod net;
pub mod random;
pub mod ring;
pub mod world;
