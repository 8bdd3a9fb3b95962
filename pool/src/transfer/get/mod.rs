//! GET and HEAD: a replica, whole or in ranges, to a client.
//!
//! ```text
//! claim → open → conditions (304, 412) → ranges (206, 416) → head → send: page cache or disk → socket
//! ```

mod open;
mod send;

use std::ops::Range;
use std::sync::Arc;

use self::send::{SendError, Sender};
use super::connection::{After, Exchange};
use super::desk::ClaimMethod;
use super::request::{Get, Kind};
use super::{Claim, Failure, FailureCode, Outcome, Side};
use crate::checksum::Checksum;
use crate::http1::{self, Decision, Method, Ranges, Validators};
use crate::store::Replica;

/// The rate of a connection that no transfer limits (SO_MAX_PACING_RATE: no limit).
const UNLIMITED: u64 = u64::MAX;

/// Answers a GET or HEAD.
pub async fn answer(exchange: &mut Exchange<'_>) -> After {
    let head_only = *exchange.request.method() == Method::Head;
    let method = if head_only { ClaimMethod::Head } else { ClaimMethod::Get };
    let mut claim = match exchange.claim(method).await {
        Ok(claim) => claim,
        Err(after) => return after,
    };
    if !exchange.request.body_length().is_empty() {
        // RFC 9110 §9.3.1: a body in a GET has no meaning, and is how requests are smuggled.
        return exchange.refuse(400, "GET and HEAD take no body here").await;
    }
    let opened = open::open(exchange, &claim).await;
    let replica = match opened {
        Ok(replica) => replica,
        Err(failure) => {
            claim.fail(failure.clone());
            return exchange.refuse(failure.http_status, failure.text()).await;
        }
    };
    let reply = Reply::new(exchange, &claim, &replica);
    if claim.started(exchange.connection_info()).is_err() {
        return exchange.refuse(503, "the transfer was called off").await;
    }
    if head_only {
        let after = exchange.send(reply.head(exchange), After::Next).await;
        let _ = claim.finish(reply.outcome(false));
        return after;
    }
    let limit = claim.transfer().request().rate_limit_bytes_per_second;
    if let Some(limit) = limit {
        let _ = exchange.input.connection().limit_send_rate(limit.get());
    }
    let sent = reply.send(exchange, &claim, &replica).await;
    if limit.is_some() {
        let _ = exchange.input.connection().limit_send_rate(UNLIMITED);
    }
    exchange.note_tcp(&claim);
    match sent {
        Ok(()) => {
            let _ = claim.finish(reply.outcome(matches!(reply.content, Content::Whole)));
            After::Next
        }
        Err(failure) => {
            claim.fail(failure);
            After::Abort
        }
    }
}

/// The answer to a request, decided before anything is sent.
struct Reply {
    content: Content,
    size: u64,
    etag: String,
    last_modified: std::time::SystemTime,
    content_type: String,
    content_disposition: String,
    checksums: Vec<Checksum>,
}

enum Content {
    /// 304 or 412.
    Nothing(u16),
    /// 200.
    Whole,
    /// 206, one part.
    Part(Range<u64>),
    /// 206, `multipart/byteranges`.
    Parts(http1::Multipart),
    /// 416.
    Unsatisfiable,
}

impl Reply {
    fn new(exchange: &Exchange<'_>, claim: &Claim, replica: &Arc<Replica>) -> Reply {
        let empty = Get {
            content_type: String::new(),
            content_disposition: String::new(),
            last_modified: None,
            etag: String::new(),
            allow_broken: false,
        };
        let get = match &claim.transfer().request().kind {
            Kind::Get(get) => get,
            _ => &empty,
        };
        let attributes = replica.attributes();
        // An id is never given to other bytes, so it is a strong validator.
        let etag = if get.etag.is_empty() { replica.id().to_string() } else { get.etag.clone() };
        let last_modified = get.last_modified.unwrap_or_else(|| attributes.created_at.into());
        let checksums = open::checksums_of(&attributes);
        let (request, size) = (exchange.request, replica.size());
        let validators = Validators { etag: Some(&etag), last_modified: Some(last_modified) };
        let content_type = if get.content_type.is_empty() { "application/octet-stream" } else { &get.content_type };
        let content = match http1::evaluate(request, &validators) {
            Decision::NotModified => Content::Nothing(304),
            Decision::PreconditionFailed => Content::Nothing(412),
            Decision::Proceed => match http1::ranges(request, size, &validators) {
                Ranges::Whole => Content::Whole,
                Ranges::One(range) => Content::Part(range),
                Ranges::Many(ranges) => Content::Parts(http1::Multipart::new(ranges, size, content_type)),
                Ranges::Unsatisfiable => Content::Unsatisfiable,
            },
        };
        Reply {
            content,
            size,
            last_modified,
            content_type: content_type.to_owned(),
            content_disposition: get.content_disposition.clone(),
            checksums,
            etag,
        }
    }

    fn outcome(&self, whole: bool) -> Outcome {
        Outcome::Sent { whole, size: self.size, checksums: self.checksums.clone() }
    }

    fn status(&self) -> u16 {
        match &self.content {
            Content::Nothing(status) => *status,
            Content::Whole => 200,
            Content::Part(_) | Content::Parts(_) => 206,
            Content::Unsatisfiable => 416,
        }
    }

    /// Bytes behind the head.
    fn length(&self) -> u64 {
        match &self.content {
            Content::Nothing(_) | Content::Unsatisfiable => 0,
            Content::Whole => self.size,
            Content::Part(range) => range.end - range.start,
            Content::Parts(parts) => parts.content_length(),
        }
    }

    /// The bytes of the replica that are sent.
    fn payload(&self) -> u64 {
        match &self.content {
            Content::Parts(parts) => parts.ranges().iter().map(|range| range.end - range.start).sum(),
            _ => self.length(),
        }
    }

    fn head(&self, exchange: &Exchange<'_>) -> Vec<u8> {
        let mut answer = http1::Response::new(self.status());
        answer.header("ETag", &format!("\"{}\"", self.etag)).header("Accept-Ranges", "bytes");
        answer.header("Last-Modified", &http1::http_date(self.last_modified));
        match &self.content {
            Content::Nothing(_) => {}
            Content::Whole => {
                answer.header("Content-Type", &self.content_type);
            }
            Content::Part(range) => {
                answer.header("Content-Type", &self.content_type);
                answer.header("Content-Range", &http1::content_range(range, self.size));
            }
            Content::Parts(parts) => {
                answer.header("Content-Type", &parts.content_type());
            }
            Content::Unsatisfiable => {
                // RFC 9110 §15.5.17
                answer.header("Content-Range", &format!("bytes */{}", self.size));
            }
        }
        if !self.content_disposition.is_empty() {
            answer.header("Content-Disposition", &self.content_disposition);
        }
        if !matches!(self.content, Content::Nothing(412) | Content::Unsatisfiable) {
            http1::digest::answer_headers(exchange.request, &self.checksums, &mut answer);
        }
        if !exchange.request.keep_alive() {
            answer.header("Connection", "close");
        }
        match self.content {
            // RFC 9110 §15.4.5: no Content-Length that would speak of another representation.
            Content::Nothing(304) => answer.without_body(),
            _ => answer.with_length(self.length()),
        }
    }

    async fn send(&self, exchange: &Exchange<'_>, claim: &Claim, replica: &Arc<Replica>) -> Result<(), Failure> {
        let sending = self.send_all(exchange, claim, replica);
        let sending = std::pin::pin!(sending);
        match futures_util::future::select(sending, claim.until_stopped()).await {
            futures_util::future::Either::Left((sent, _)) => {
                sent.map_err(|error| self.failure(&error, exchange, claim))
            }
            futures_util::future::Either::Right(((), _)) => Err(Failure::new(
                FailureCode::Internal,
                Side::Door,
                "the transfer was called off",
            )),
        }
    }

    async fn send_all(
        &self,
        exchange: &Exchange<'_>,
        claim: &Claim,
        replica: &Arc<Replica>,
    ) -> Result<(), SendError> {
        let connection = exchange.input.connection();
        let idle_limit = exchange.port.settings.idle_limit;
        claim.transfer().progress().add_requested(self.payload());
        let sender = Sender { connection, replica, disk: exchange.port.store.disk(), claim, idle_limit };
        let head = self.head(exchange);
        match &self.content {
            Content::Nothing(_) | Content::Unsatisfiable => sender.send_bytes(head, false).await,
            Content::Whole => sender.send_behind(head, 0..self.size).await,
            Content::Part(range) => sender.send_behind(head, range.clone()).await,
            Content::Parts(parts) => {
                sender.send_bytes(head, true).await?;
                for (number, range) in parts.ranges().iter().enumerate() {
                    sender.send_behind(parts.part_head(number), range.clone()).await?;
                }
                sender.send_bytes(parts.trailer(), false).await
            }
        }
    }

    fn failure(&self, error: &SendError, exchange: &Exchange<'_>, claim: &Claim) -> Failure {
        let moved = claim.transfer().progress().bytes_moved();
        let text = format!(
            "sending {} to {} broke off after {moved} bytes of the transfer: {error}",
            claim.transfer().request().replica,
            exchange.peer()
        );
        match error {
            SendError::Connection(_) => Failure::connection_lost(text),
            SendError::Stalled(_) => Failure::stalled(text),
            SendError::Disk { .. } => Failure::disk(text),
            SendError::Truncated(_) => Failure::replica_broken(text),
        }
    }
}
