//! What doors and admins command the pool with: the contract's service, over gRPC.
//!
//! * [`service`]: the calls, one after the other; registry and store carry them out.
//! * `admission`: what is looked at on the disk before a transfer is taken.
//! * `fate`: what becomes of an upload's replica.
//! * [`replicas`], `listing`: what is asked of replicas, and the pages of their list.
//! * [`follow`]: a transfer's events, as one door follows them.
//! * `fields`, `refusals`: from the contract's fields to our types, and from our errors to statuses.
//! * [`listen`]: the Unix socket, or TCP with mutual TLS (`tls`).

mod admission;
mod fate;
mod fields;
pub mod follow;
pub mod listen;
mod listing;
mod refusals;
pub mod replicas;
pub mod service;
pub(super) mod tls;
