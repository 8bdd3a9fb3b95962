//! What of a request the audit is told.

use hyper::{Method, StatusCode};

use super::answer::{Answer, Refusal};
use super::exchange::Exchange;
use crate::audit::Audit;
use crate::audit::record::{Happening, Request, Who};

/// A request that somebody may not make. What is refused for other reasons is in the log.
pub fn refused(audit: &Audit, who: Who, method: &Method, path: &str, refusal: &Refusal) {
    let status = refusal.status();
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS) {
        let request =
            Request { method: method.to_string(), path: path.to_owned(), status: Some(status.as_u16()) };
        audit.tell(who, Happening::Refused { request, why: refusal.text().to_owned() });
    }
}

/// What became of a request, where that is the audit's business.
pub fn answered(exchange: &Exchange, answer: &Result<Answer, Refusal>) {
    exchange.note_under_way(false);
    let method = &exchange.head.method;
    let begun = exchange.begun();
    let status = match answer {
        Ok(answer) => answer.status(),
        Err(refusal) => {
            refused(&exchange.service.audit, who(exchange), method, exchange.path.as_str(), refusal);
            refusal.status()
        }
    };
    let has_failed = status.is_client_error() || status.is_server_error();
    let changes = match method.as_str() {
        "PUT" | "DELETE" | "MKCOL" | "MOVE" | "PROPPATCH" => !has_failed,
        // Of a push nothing changes here, nor when the client has to delegate first.
        "COPY" => begun.changes || (status.is_success() && status != StatusCode::ACCEPTED),
        // A lock on a free name makes a file.
        "LOCK" => status == StatusCode::CREATED,
        // Of a lock that somebody else has taken.
        "UNLOCK" => begun.changes,
        _ => false,
    };
    if let Some(issued) = begun.issued {
        let request = request(exchange, Some(status));
        exchange.service.audit.tell(who(exchange), Happening::Issued { request, issued });
    } else if changes {
        changed(exchange, Some(status));
    }
}

/// An upload or a copy whose client has gone before the answer: what was under way may have got its name, or get it yet.
pub fn abandoned(exchange: &Exchange) {
    changed(exchange, None);
}

fn changed(exchange: &Exchange, status: Option<StatusCode>) {
    let request = request(exchange, status);
    let destination = exchange.headers().get("destination").and_then(|value| value.to_str().ok());
    // Its query may hold a token.
    let destination = destination.map(|url| url.split(['?', '#']).next().unwrap_or_default().to_owned());
    let transfer = exchange.begun().transfer;
    exchange.service.audit.tell(who(exchange), Happening::Changed { request, destination, transfer });
}

fn request(exchange: &Exchange, status: Option<StatusCode>) -> Request {
    Request {
        method: exchange.head.method.to_string(),
        path: exchange.path.to_string(),
        status: status.map(|status| status.as_u16()),
    }
}

fn who(exchange: &Exchange) -> Who {
    Who::of(exchange.connection.peer().ip(), &exchange.access)
}
