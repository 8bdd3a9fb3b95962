//! UNLOCK: a lock ends before its time (RFC 4918 §9.11).

use hyper::StatusCode;

use super::answer::{Answer, Refusal, bare};
use super::exchange::Exchange;
use super::lock::{covers, is_yours};
use crate::auth::{Access, Operation};

/// Answers it.
pub async fn handle(exchange: &mut Exchange) -> Result<Answer, Refusal> {
    exchange.allow(Operation::Lock)?;
    let header = exchange.headers().get("lock-token").and_then(|value| value.to_str().ok());
    let token = header.map(str::trim).and_then(|value| value.strip_prefix('<')?.strip_suffix('>'));
    let Some(token) = token else {
        let text = "the header Lock-Token is missing, or not of the form \"<token>\"";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, text));
    };
    let namespace = &exchange.service.namespace;
    match namespace.find_lock(token).await? {
        Some(lock) if !covers(exchange, &lock) => Err(not_here()),
        Some(lock) if !is_yours(exchange, &lock) => {
            // RFC 4918 §6.4: whom the server lets. Who may delete what is locked, and is somebody, whom the audit can name.
            if matches!(exchange.access, Access::Anonymous(_)) || !exchange.may(Operation::Delete, &lock.path)
            {
                return Err(Refusal::forbidden("the lock was taken by somebody else, and ends by itself"));
            }
            exchange.note_change();
            namespace.unlock(token).await?;
            Ok(bare(StatusCode::NO_CONTENT))
        }
        Some(_) => {
            namespace.unlock(token).await?;
            Ok(bare(StatusCode::NO_CONTENT))
        }
        None => Err(not_here()),
    }
}

fn not_here() -> Refusal {
    Refusal::new(StatusCode::CONFLICT, "there is no such lock here (any more)")
        .condition("<d:lock-token-matches-request-uri/>")
}
