//! Traces: what one request did across door and pool, for OpenTelemetry. Off unless an endpoint is configured.
//!
//! * [`context`]: which trace, and which part of it (W3C Trace Context). [`span`]: one part, with its times and facts.
//! * [`export`]: the way to a collector (OTLP over HTTP, as JSON), which never holds anybody up.
//!
//! Three crates and their forty dependencies would do the same; what is needed of them is one message, one header and a
//! bounded queue.

pub mod context;
pub mod export;
pub mod span;

pub use context::TraceContext;
pub use export::{Settings, Tracer};
pub use span::{Kind, Span};
