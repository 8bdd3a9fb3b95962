//! Verification of replicas that lie on the disk: of one when a door asks, of all in the background.
//!
//! Between transfer and control. Reads with its own buffer on its own thread, past the page cache where the file
//! system can: nothing of the shards' is used, and nothing that clients read is pushed out of memory.
//!
//! * [`reading`]: reads one replica, holds it against all that is recorded of it and judges. The one way to do so.
//! * [`verify`]: one replica, on request, at full speed.
//! * [`Scrub`]: all replicas, one after the other, at a limited rate; stopped, continued and told of by control.
//!
//! ```text
//! Scrub (thread) → walk (which replica next) → reading (its bytes) → settle (what the store is told)
//!                    ├ pace (how fast)
//!                    └ record (how far: kept in the store, so that a restart goes on)
//! ```
#![forbid(unsafe_code)]

mod background;
mod buffer;
mod pace;
pub mod reading;
mod record;
mod settle;
mod verify;
mod walk;

pub use background::{Scrub, ScrubOff, ScrubSettings, ScrubState, ScrubStatus, ScrubTotals};
pub use verify::{Verification, verify};

#[cfg(test)]
mod stories;
