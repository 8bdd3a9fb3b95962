//! What Prometheus sees of the data port and of what is behind it; read when it asks.

pub(super) mod engine;
pub(super) mod port;
pub(super) mod reading;
pub(super) mod remotes;
