//! One part of a trace: what was done, from when to when, with what outcome.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::context::TraceContext;

/// Longest text that is told of an attribute, in bytes.
const TEXT_MAX_BYTES: usize = 1024;

/// Whose work it is (OTLP `SpanKind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Answers somebody.
    Server,
    /// Works for somebody who does not wait in the same call.
    Consumer,
}

impl Kind {
    fn number(self) -> u8 {
        match self {
            Kind::Server => 2,
            Kind::Consumer => 5,
        }
    }
}

/// A part of a trace that has not ended.
#[derive(Debug, Clone)]
pub struct Span {
    /// Its own place in the trace: what works for it names this.
    pub context: TraceContext,
    parent: Option<u64>,
    name: String,
    kind: Kind,
    started_at: SystemTime,
    attributes: Vec<Value>,
}

impl Span {
    pub(super) fn new(
        context: TraceContext,
        parent: Option<u64>,
        kind: Kind,
        name: String,
        started_at: SystemTime,
    ) -> Self {
        Self { context, parent, name, kind, started_at, attributes: Vec::new() }
    }

    /// Adds a text.
    pub fn text(&mut self, key: &str, value: &str) {
        let value = crate::beginning(value, TEXT_MAX_BYTES);
        self.attributes.push(json!({ "key": key, "value": { "stringValue": value } }));
    }

    /// Adds a number.
    pub fn number(&mut self, key: &str, value: u64) {
        // 64-bit integers are text in JSON (OTLP, "JSON Protobuf Encoding").
        self.attributes.push(json!({ "key": key, "value": { "intValue": value.to_string() } }));
    }

    /// As a collector takes it, ended now, with what has gone wrong.
    pub(super) fn end(self, now: SystemTime, failure: Option<&str>) -> Value {
        let nanoseconds = |time: SystemTime| {
            time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_nanos().to_string()
        };
        let status = match failure {
            None => json!({}),
            Some(text) => json!({ "code": 2, "message": crate::beginning(text, TEXT_MAX_BYTES) }),
        };
        let mut span = json!({
            "traceId": format!("{:032x}", self.context.trace),
            "spanId": format!("{:016x}", self.context.span),
            "name": self.name,
            "kind": self.kind.number(),
            "startTimeUnixNano": nanoseconds(self.started_at),
            "endTimeUnixNano": nanoseconds(now.max(self.started_at)),
            "attributes": self.attributes,
            "status": status,
        });
        if let Some(parent) = self.parent {
            span["parentSpanId"] = json!(format!("{parent:016x}"));
        }
        span
    }
}
