//! DELETE: the name goes at once; its replica is owed to the pool, which deletes it in the background.

use hyper::StatusCode;

use super::answer::{Answer, Refusal, bare};
use super::exchange::Exchange;
use super::head;
use super::precondition::{self, Verdict};
use crate::auth::Operation;
use crate::namespace::ChangeError;

/// Answers it.
pub async fn handle(exchange: &mut Exchange) -> Result<Answer, Refusal> {
    exchange.allow(Operation::Delete)?;
    let entry = exchange.existing().await?;
    let depth = exchange.headers().get("depth");
    if entry.is_directory() && depth.is_some_and(|depth| !depth.as_bytes().eq_ignore_ascii_case(b"infinity"))
    {
        // RFC 4918 §9.6.1: a collection goes with all that is in it, or not.
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "a directory is deleted with Depth: infinity only",
        ));
    }
    let (verdict, _) = precondition::for_write(exchange.headers(), Some(&entry));
    if verdict != Verdict::Proceed {
        return Err(head::refuse(verdict));
    }
    match exchange.service.namespace.delete(&exchange.path, &entry).await {
        Ok(()) => {
            exchange.service.transfers.replica_owed();
            Ok(bare(StatusCode::NO_CONTENT))
        }
        Err(error) => Err(refuse(error)),
    }
}

/// The status of a change that is not made.
pub fn refuse(error: ChangeError) -> Refusal {
    let status = match error {
        ChangeError::Namespace(error) => return error.into(),
        // RFC 4918 §9.3.1 wants 405 of MKCOL for a name that exists.
        ChangeError::Exists => StatusCode::METHOD_NOT_ALLOWED,
        ChangeError::NotFound => StatusCode::NOT_FOUND,
        ChangeError::NoParent | ChangeError::NotADirectory | ChangeError::Changed => StatusCode::CONFLICT,
        ChangeError::Root => StatusCode::FORBIDDEN,
    };
    Refusal::new(status, error.to_string())
}
