//! The HTTP client that drives servers: one connection, kept open, with as little work of its own as can be.
//!
//! It blocks its thread, which costs less on the measured machine than anything else would.

mod client;
mod location;

pub use client::{Answer, Client, HttpError};
pub use location::Location;
