//! MOVE: a name gets another place, with all that is below it (RFC 4918 §9.9). No byte moves.

use hyper::StatusCode;

use super::answer::{Answer, Refusal, bare};
use super::depth::Depth;
use super::destination::Destination;
use super::exchange::Exchange;
use super::precondition::{self, Verdict};
use super::{condition, delete, head};
use crate::auth::Operation;
use crate::namespace::rename::{Rename, Target};
use crate::namespace::{ChangeError, Lookup};

/// Answers it.
pub async fn handle(exchange: &mut Exchange) -> Result<Answer, Refusal> {
    exchange.allow(Operation::Move)?;
    let destination = Destination::of(exchange)?;
    exchange.allow_at(Operation::Move, &destination.path)?;
    if exchange.has_body() {
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a MOVE with a body is not known"));
    }
    let depth = Depth::all_or_nothing(exchange.headers(), "MOVE")?;
    let entry = exchange.existing().await?;
    if entry.is_directory() && depth != Depth::Infinity {
        // RFC 4918 §9.9.2.
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "a directory is moved with Depth: infinity only"));
    }
    let (verdict, _) = precondition::for_write(exchange.headers(), Some(&entry));
    if verdict != Verdict::Proceed {
        return Err(head::refuse(verdict));
    }
    let shown = condition::check(exchange).await?.shown;
    let namespace = &exchange.service.namespace;
    if let Lookup::Found(_) = namespace.lookup(&destination.path).await? {
        if !destination.overwrite {
            return Err(exists());
        }
        exchange.allow_at(Operation::Delete, &destination.path)?;
    }
    let rename = Rename {
        from: &exchange.path,
        seen: &entry,
        to: &destination.path,
        // What has come to be there since then must not go unasked.
        overwrite: destination.overwrite && exchange.may(Operation::Delete, &destination.path),
        create_parents: exchange.service.transfers.create_parents(),
        shown: &shown,
    };
    match namespace.rename(&rename).await {
        Ok(Target::New) => Ok(bare(StatusCode::CREATED)),
        Ok(Target::Replaced) => {
            exchange.service.transfers.replica_owed();
            Ok(bare(StatusCode::NO_CONTENT))
        }
        Err(ChangeError::Exists) => Err(exists()),
        Err(error) => Err(delete::refuse(exchange, error)),
    }
}

/// The refusal where `Overwrite: F` stands against it (RFC 4918 §10.6).
pub fn exists() -> Refusal {
    Refusal::new(StatusCode::PRECONDITION_FAILED, "File exists, and Overwrite is F")
}
