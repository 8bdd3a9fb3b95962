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

use crate::reference::Default::Otherwise;
use crate::reference::{Form, Key};

pub use context::TraceContext;
pub use export::{Settings, Tracer};
pub use span::{Kind, Span};

/// `tracing.endpoint` in words, as every daemon has it.
pub const ENDPOINT_KEY: Key = Key::new(
    "tracing.endpoint",
    Form::Text,
    Otherwise("no traces"),
    "\"http://collector.example.org:4318\"",
    "An OpenTelemetry collector (OTLP over HTTP).",
    "Set it at door and pool, and a transfer is one trace.",
);

/// `tracing.sample` in words; what it does depends on who decides.
#[must_use]
pub const fn sample_key(what: &'static str, why: &'static str) -> Key {
    Key::new("tracing.sample", Form::Count, Otherwise("1.0"), "1.0", what, why)
}
