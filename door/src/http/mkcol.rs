//! MKCOL: a directory in an existing one (RFC 4918 §9.3).

use hyper::StatusCode;
use hyper::header::{self, HeaderValue};

use super::answer::{Answer, Refusal, bare};
use super::exchange::Exchange;
use super::{delete, options};
use crate::auth::Operation;
use crate::namespace::ChangeError;

/// Answers it.
pub async fn handle(exchange: &mut Exchange) -> Result<Answer, Refusal> {
    exchange.allow(Operation::MakeDirectory)?;
    if exchange.has_body() {
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a MKCOL with a body is not known"));
    }
    match exchange.service.namespace.make_directory(&exchange.path).await {
        Ok(()) => Ok(bare(StatusCode::CREATED)),
        Err(error @ ChangeError::Exists) => {
            Err(delete::refuse(error).header(header::ALLOW, HeaderValue::from_static(options::METHODS)))
        }
        Err(error) => Err(delete::refuse(error)),
    }
}
