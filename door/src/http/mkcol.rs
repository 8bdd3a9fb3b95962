//! MKCOL: a directory in an existing one (RFC 4918 §9.3).

use hyper::StatusCode;
use hyper::header::{self, HeaderValue};

use super::answer::{Answer, Refusal, bare};
use super::exchange::Exchange;
use super::{condition, delete, options};
use crate::auth::Operation;
use crate::namespace::ChangeError;

/// Answers it.
pub async fn handle(exchange: &mut Exchange) -> Result<Answer, Refusal> {
    exchange.allow(Operation::MakeDirectory)?;
    if exchange.has_body() {
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a MKCOL with a body is not known"));
    }
    let shown = condition::check_all(exchange).await?.shown;
    match exchange.service.namespace.make_directory(&exchange.path, &shown).await {
        Ok(()) => Ok(bare(StatusCode::CREATED)),
        Err(error @ ChangeError::Exists) => {
            let allowed = HeaderValue::from_static(options::METHODS);
            Err(delete::refuse(exchange, error).header(header::ALLOW, allowed))
        }
        Err(error) => Err(delete::refuse(exchange, error)),
    }
}
