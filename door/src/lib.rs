//! The door.
#![forbid(unsafe_code)]
pub mod auth;
pub mod checksum;
pub mod namespace;
