//! A transfer as a part of the trace that its door has named (OpenTelemetry).
#![forbid(unsafe_code)]

use penstock_service::trace::context::HEADER;
use penstock_service::trace::{Kind, TraceContext, Tracer};
use tonic::metadata::MetadataMap;

use crate::transfer::{State, Transfer};

/// The place in a trace that a call belongs to.
pub(in crate::control) fn context(metadata: &MetadataMap) -> Option<TraceContext> {
    metadata.get(HEADER)?.to_str().ok()?.parse().ok()
}

/// Tells of a transfer that has ended.
pub(super) fn ended(tracer: &Tracer, context: Option<TraceContext>, transfer: &Transfer, state: &State) {
    let request = transfer.request();
    // A door that traces nothing has its reasons: the pool begins no trace by itself.
    let Some(context) = context else { return };
    let name = format!("transfer {}", request.kind.name());
    let began_at = transfer.submitted_at().wall();
    let Some(mut span) = tracer.begin_at(Some(context), Kind::Consumer, name, began_at) else { return };
    let progress = transfer.progress();
    span.text("penstock.transfer.id", &request.id.to_string());
    span.text("penstock.transfer.kind", &request.kind.name().to_string());
    span.text("penstock.transfer.outcome", &state.name().to_string());
    span.text("url.path", &request.path);
    span.text("client.address", &request.client.address);
    span.number("penstock.transfer.bytes", progress.bytes_moved());
    let moving_ms = u64::try_from(progress.transfer_time().as_millis()).unwrap_or(u64::MAX);
    span.number("penstock.transfer.moving_ms", moving_ms);
    tracer.end(span, state.why());
}
