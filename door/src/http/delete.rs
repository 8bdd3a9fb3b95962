//! DELETE: the name goes at once, with all below it; replicas are owed to their pools, which delete them in the
//! background.

use hyper::StatusCode;

use super::answer::{Answer, Refusal, bare};
use super::depth::Depth;
use super::exchange::Exchange;
use super::precondition::{self, Verdict};
use super::{condition, head, locked};
use crate::auth::Operation;
use crate::namespace::ChangeError;

/// Answers it.
pub async fn handle(exchange: &mut Exchange) -> Result<Answer, Refusal> {
    exchange.allow(Operation::Delete)?;
    let entry = exchange.existing().await?;
    if !entry.is_directory() && exchange.head.uri.path().ends_with('/') {
        // Who means a directory does not lose a file of that name.
        let text = "No such directory: there is a file of that name, whose URL has no \"/\" at its end";
        return Err(Refusal::new(StatusCode::NOT_FOUND, text));
    }
    let depth = Depth::all_or_nothing(exchange.headers(), "DELETE")?;
    if entry.is_directory() && depth != Depth::Infinity {
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
    let shown = condition::check(exchange).await?.shown;
    match exchange.service.namespace.delete(&exchange.path, &entry, &shown).await {
        Ok(()) => {
            exchange.service.transfers.replica_owed();
            Ok(bare(StatusCode::NO_CONTENT))
        }
        Err(error) => Err(refuse(exchange, error)),
    }
}

/// The status of a change that is not made.
pub fn refuse(exchange: &Exchange, error: ChangeError) -> Refusal {
    let status = match error {
        ChangeError::Namespace(error) => return error.into(),
        ChangeError::Locked(locks) => return locked::refuse(exchange, &locks),
        // RFC 4918 §9.3.1 wants 405 of MKCOL for a name that exists.
        ChangeError::Exists => StatusCode::METHOD_NOT_ALLOWED,
        ChangeError::NotFound => return Refusal::not_found(),
        ChangeError::NoParent | ChangeError::NotADirectory | ChangeError::Changed => StatusCode::CONFLICT,
        // RFC 4918 §9.8.5, §9.9.4.
        ChangeError::Root | ChangeError::IntoItself => StatusCode::FORBIDDEN,
        ChangeError::TooManyProperties => StatusCode::INSUFFICIENT_STORAGE,
    };
    Refusal::new(status, error.to_string())
}
