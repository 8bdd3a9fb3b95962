//! Small uploads, received whole.

use super::plan::Plan;
use crate::engine::net::Received;
use crate::transfer::connection::Exchange;
use crate::transfer::{Claim, Failure, Limit};

/// Receives the body of a small upload.
pub(super) async fn receive(
    exchange: &mut Exchange<'_>,
    claim: &Claim,
    plan: &Plan,
) -> Result<Vec<u8>, Failure> {
    let length = plan.length.unwrap_or(0) as usize;
    claim.enter(Limit::Source);
    let there = exchange.input.unread().len().min(length);
    let mut bytes = vec![0; length];
    bytes[..there].copy_from_slice(&exchange.input.unread()[..there]);
    exchange.input.consume(there);
    let mut filled = there;
    let connection = exchange.input.connection().clone();
    let idle_limit = exchange.port.settings.idle_limit;
    while filled < length {
        let (received, back) = connection.receive_within(bytes, filled..length, true, idle_limit).await;
        bytes = back;
        let pending = length - filled;
        match received {
            Ok(Received::Bytes(count)) => filled += count,
            Ok(Received::Paused(count)) if count > 0 => filled += count,
            Ok(Received::Paused(_)) => {
                return Err(Failure::stalled(format!(
                    "the upload from {} stalled: nothing came for {} s after {filled} bytes ({pending} more were \
                     to come)",
                    connection.peer(),
                    idle_limit.as_secs()
                )));
            }
            Ok(Received::End) => {
                return Err(Failure::connection_lost(format!(
                    "the upload from {} broke off after {filled} bytes ({pending} more were to come): the client \
                     closed the connection",
                    connection.peer()
                )));
            }
            Err(error) => {
                return Err(Failure::connection_lost(format!(
                    "the upload from {} broke off after {filled} bytes ({pending} more were to come): {error}",
                    connection.peer()
                )));
            }
        }
    }
    if let Some(link) = claim.link() {
        link.received(length as u64);
    }
    Ok(bytes)
}
