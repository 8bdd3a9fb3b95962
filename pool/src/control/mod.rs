//! What doors and admins talk to: the gRPC service, the queues, the admin port. On tokio.
//!
//! * [`daemon`]: starts and stops all of it.
//! * [`registry`], [`queue`], [`entry`]: every transfer, and whose turn it is.
//! * [`service`]: the contract's service; [`follow`], [`replicas`], [`status`], [`wire`] are its parts.
//! * [`listen`]: the Unix socket, or TCP with mutual TLS.
//! * [`admin`], [`metrics`]: what people and Prometheus read.
//! * [`data_port`]: starts the shards that move the bytes.
//! * [`doors`]: where lost clients are sent back to.
#![forbid(unsafe_code)]

pub mod admin;
pub mod daemon;
pub mod data_port;
pub mod doors;
pub mod entry;
pub mod follow;
pub mod listen;
pub mod metrics;
pub mod queue;
mod read_metrics;
pub mod registry;
pub mod replicas;
pub mod service;
pub mod status;
#[cfg(test)]
mod stories;
mod wire;
