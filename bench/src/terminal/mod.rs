//! The person in front of it: progress on a terminal, and Ctrl-C.

mod interrupt;
mod progress;

pub use interrupt::{EXIT_CODE, Interrupt, Interrupted};
pub use progress::Progress;
