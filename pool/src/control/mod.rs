//! What doors and admins talk to: the gRPC service, the queues, the admin port. On tokio.
//!
//! * [`daemon`]: starts and stops all of it.
//! * [`registry`], [`queue`], [`entry`]: every transfer, and whose turn it is; `table` is how they are found.
//! * [`redirect`]: where clients are sent.
//! * [`results`], [`kept`]: what the disk keeps of transfers until their doors acknowledge them.
//! * [`service`]: the contract's service; [`follow`], [`replicas`], [`status`], [`wire`] are its parts.
//! * [`listen`]: the Unix socket, or TCP with mutual TLS (`grpc_tls`).
//! * [`admin`], [`metrics`]: what people and Prometheus read; `page` is the status page, `*_metrics` the parts'
//!   own numbers.
//! * [`chronicle`], [`records`], [`history`]: what is remembered of ended transfers and of throughput.
//! * [`transfer_json`], [`status_json`]: a transfer, and the pool's state, as JSON: the same wherever they are told.
//! * [`data_port`]: starts the shards that move the bytes.
//! * `descriptors`: the process's limit of open files.
//! * `liveness`, `reconfigure`: what the watchdog looks at; what a new configuration changes without a restart.
//! * `traces`: transfers as parts of traces (OpenTelemetry).
//! * [`doors`]: where lost clients are sent back to.
#![forbid(unsafe_code)]

pub mod admin;
pub mod chronicle;
pub mod daemon;
pub mod data_port;
mod descriptors;
pub mod doors;
mod engine_metrics;
pub mod entry;
pub mod follow;
mod grpc_tls;
pub mod history;
pub mod kept;
pub mod listen;
mod liveness;
pub mod metrics;
mod page;
pub mod queue;
mod read_metrics;
mod reconfigure;
pub mod records;
pub mod redirect;
pub mod registry;
mod remote_metrics;
pub mod replicas;
pub mod results;
pub mod service;
pub mod status;
pub mod status_json;
mod store_metrics;
#[cfg(test)]
mod stories;
mod table;
mod traces;
pub mod transfer_json;
mod transfer_metrics;
mod wire;

/// How many threads talk to doors and admins: few, for no bytes pass through them. One does several thousand transfers a
/// second, and more than the load needs cost twice the time, in waking each other for every event.
#[must_use]
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| (processors.get() / 8).clamp(1, 4))
}
