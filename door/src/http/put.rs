//! PUT: a redirect to a pool for a client that waits for it, or the body through the door, as it comes.

use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderName};

use super::answer::{Answer, Refusal};
use super::exchange::Exchange;
use super::precondition::{self, Verdict};
use super::proxy::ProxyError;
use super::{condition, digest, get, head, locked, proxy};
use crate::auth::Operation;
use crate::namespace::upload::Expectation;
use crate::namespace::{Entry, Lookup, Shown};
use crate::transfers::UploadRequest;

/// The query parameter with which a client that does not send `Expect` asks for a redirect, or declines one.
const REDIRECT_PARAMETER: &str = "redirect";

/// Headers of the request that the pool looks at.
static HANDED_ON: [&HeaderName; 9] = [
    &header::CONTENT_LENGTH,
    &header::CONTENT_TYPE,
    &digest::DIGEST,
    &digest::REPR_DIGEST,
    &digest::CONTENT_DIGEST,
    &digest::CONTENT_MD5,
    &digest::WANT_DIGEST,
    &digest::WANT_REPR_DIGEST,
    &header::USER_AGENT,
];

/// Answers it.
pub async fn handle(exchange: &mut Exchange) -> Result<Answer, Refusal> {
    exchange.allow(Operation::Upload)?;
    let size_bytes = check_head(exchange.headers())?;
    let maximum_bytes = exchange.access.max_upload();
    if let (Some(size), Some(maximum)) = (size_bytes, maximum_bytes)
        && size > maximum
    {
        return Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the token allows uploads of at most {maximum} bytes"),
        ));
    }
    let existing = target(exchange).await?;
    let may_overwrite = exchange.may(Operation::Overwrite, &exchange.path);
    if existing.is_some() && !may_overwrite {
        return Err(Refusal::forbidden("the token does not allow to replace a file"));
    }
    let (verdict, expects) = precondition::for_write(exchange.headers(), existing.as_ref());
    if verdict != Verdict::Proceed {
        return Err(head::refuse(verdict));
    }
    let checked = condition::check(exchange).await?;
    locked::check_name(exchange, &exchange.path, existing.is_some(), &checked.shown).await?;
    let expects = match existing.as_ref().and_then(Entry::file) {
        // The tags that the header If names have been compared; they must be the same at the end.
        Some(file) if checked.by_etag => Expectation::Etag(file.etag().to_owned()),
        _ => expects,
    };
    let client = if redirects(exchange) { exchange.redirected_client() } else { exchange.client() };
    let mut request = UploadRequest {
        marking: exchange.marking(&client),
        client,
        view_path: exchange.view_path.clone(),
        path: exchange.path.clone(),
        size_bytes,
        maximum_bytes,
        wanted: digest::wanted(exchange.headers()),
        expects,
        may_overwrite,
        replaces: existing.is_some(),
        shown: checked.shown,
        copy_of: None,
    };
    let mut ready = exchange.service.transfers.upload(&request).await?;
    if redirects(exchange) {
        exchange.note_transfer(&ready.transfer);
        return get::redirect(&ready);
    }
    let data_ports = exchange.service.data_ports.clone();
    if data_ports.is_none() && std::mem::take(&mut request.client.secure) {
        // While the pool got ready the client was tired of waiting, and sends the body here. The pool is ready for it by
        // https, which this door does not speak with pools.
        exchange.service.transfers.cancel(&ready, "the client sends the body to the door").await;
        ready = exchange.service.transfers.upload(&request).await?;
    }
    exchange.note_transfer(&ready.transfer);
    // From here the body is read, which makes hyper send the 100 that the client may wait for.
    let Some(body) = exchange.body.take() else {
        return Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the body was read before"));
    };
    exchange.note_under_way(true);
    match proxy::put(data_ports.as_ref(), &ready.url, exchange.headers(), &HANDED_ON, body).await {
        Ok(answer) => Ok(answer),
        // It has ended there.
        Err(error @ ProxyError::Refused(_)) => Err(error.into_refusal(&ready.pool)),
        Err(error) => {
            exchange.service.transfers.cancel(&ready, "the upload through the door broke").await;
            Err(error.into_refusal(&ready.pool))
        }
    }
}

/// Makes an empty file at the request's path, where nothing is (RFC 4918 §7.3).
pub async fn create_empty(exchange: &Exchange, shown: Shown) -> Result<(), Refusal> {
    let request = UploadRequest {
        // Its bytes, none, do not leave the site.
        marking: None,
        client: exchange.client(),
        view_path: exchange.view_path.clone(),
        path: exchange.path.clone(),
        size_bytes: Some(0),
        maximum_bytes: None,
        wanted: Vec::new(),
        expects: Expectation::Absent,
        may_overwrite: false,
        replaces: false,
        shown,
        copy_of: None,
    };
    let ready = exchange.service.transfers.upload(&request).await?;
    match proxy::put_nothing(exchange.service.data_ports.as_ref(), &ready.url).await {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => {
            let text = format!("pool {} did not take an empty file", ready.pool);
            Err(Refusal::new(answer.status(), text))
        }
        Err(error) => {
            exchange.service.transfers.cancel(&ready, "the empty file could not be made").await;
            Err(error.into_refusal(&ready.pool))
        }
    }
}

/// Refuses what no pool would take; returns the size where the client tells it.
fn check_head(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    if headers.contains_key(header::CONTENT_RANGE) {
        // RFC 9110 §14.5: a part must not replace the whole.
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "a PUT with Content-Range is not taken; send the whole file",
        ));
    }
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
        && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "a PUT with Content-Encoding is not taken; send the file as it is",
        ));
    }
    match headers.get(header::CONTENT_LENGTH) {
        Some(length) => {
            let length = length.to_str().ok().and_then(|text| text.trim().parse().ok());
            length
                .map(Some)
                .ok_or_else(|| Refusal::new(StatusCode::BAD_REQUEST, "Content-Length is not a number"))
        }
        None if headers.contains_key(header::TRANSFER_ENCODING) => Ok(None),
        // RFC 9110 §15.5.12: without either, an empty body and a forgotten length look the same.
        None => Err(Refusal::new(
            StatusCode::LENGTH_REQUIRED,
            "send Content-Length, or the body with \"Transfer-Encoding: chunked\"",
        )),
    }
}

/// The file that is there now, if any; refuses what cannot become a file.
pub async fn target(exchange: &Exchange) -> Result<Option<Entry>, Refusal> {
    let conflict = |text: &str| Refusal::new(StatusCode::CONFLICT, text);
    if exchange.view_path.is_root() || exchange.head.uri.path().ends_with('/') {
        return Err(conflict("a path that ends with \"/\" is a directory"));
    }
    match exchange.service.namespace.lookup(&exchange.path).await? {
        Lookup::Found(entry) if entry.is_directory() => Err(conflict("it is a directory")),
        Lookup::Found(entry) => Ok(Some(entry)),
        Lookup::Missing => Ok(None),
        Lookup::NoParent if exchange.service.transfers.create_parents() => Ok(None),
        Lookup::NoParent => Err(conflict("the parent directory does not exist: make it with MKCOL")),
        Lookup::NotADirectory => Err(conflict("a component above it is a file, not a directory")),
    }
}

/// Whether this client is sent to the pool: it waits (or asks for it), and has not begun to send the body because it
/// was tired of waiting.
fn redirects(exchange: &Exchange) -> bool {
    exchange.service.redirect.write
        && match exchange.query_parameter(REDIRECT_PARAMETER) {
            Some("true") => !exchange.access.is_address_bound(),
            Some("false") => false,
            _ => {
                exchange.awaits_continue()
                    && exchange.follows_redirects()
                    && !exchange.connection.body_has_begun()
            }
        }
}
