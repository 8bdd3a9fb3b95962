//! What doors and admins talk to: the gRPC service, the queues, the admin port. On tokio.
//!
//! Top down; imports run down this list:
//!
//! * [`daemon`]: starts and stops all of it.
//! * [`grpc`]: the contract's service, and where doors come to. [`admin`]: what people and Prometheus read.
//! * [`status`]: the pool's state, for all of them.
//! * [`registry`]: every transfer, until its door has said Acknowledge.
//! * [`data_port`]: the shards that move the bytes.
//! * [`metrics`]: the pool's numbers; the parts add their own.
//! * [`queue`]: whose turn it is.
//! * [`messages`]: transfers, replicas and state as the contract tells them, and as JSON.
//! * `liveness`: what the watchdog looks at.
#![forbid(unsafe_code)]

pub mod admin;
pub mod daemon;
pub mod data_port;
pub mod grpc;
mod liveness;
pub mod messages;
pub mod metrics;
pub mod queue;
pub mod registry;
pub mod status;
#[cfg(test)]
mod stories;

/// How many threads talk to doors and admins: few, for no bytes pass through them. One does several thousand transfers a
/// second, and more than the load needs cost twice the time, in waking each other for every event.
#[must_use]
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| (processors.get() / 8).clamp(1, 4))
}
