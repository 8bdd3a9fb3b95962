//! The door.
#![forbid(unsafe_code)]
pub mod auth;
pub mod checksum;
pub mod config;
pub mod namespace;
pub mod pools;
pub mod transfers;
