//! GET and HEAD: a replica, whole or in ranges, to a client.
//!
//! ```text
//! claim → open → conditions (304, 412) → ranges (206, 416) → head → send: page cache or disk → check → socket
//! ```
//!
//! Nothing of a replica leaves that is not as it was stored ([`super::source`]). If that shows before the answer has
//! begun, the answer is an error; else it ends short of its Content-Length, before the bad bytes.

mod open;
mod send;

pub(super) use self::open::checksums_of;

use std::ops::Range;
use std::sync::Arc;

use futures_util::future::{Either, select};

use self::send::{SendError, Sender};
use super::connection::{After, Exchange, date, digest_headers};
use super::desk::ClaimMethod;
use super::request::{Get, Kind};
use super::source::ReadError;
use super::{Claim, Failure, FailureCode, Outcome, Side};
use crate::checksum::Checksum;
use crate::http1::{self, Condition, HttpDate, Method, Ranges, ResponseHead, TextAnswer, Validators};
use crate::marking::Supplier;
use crate::store::Replica;

/// An answer that long takes its time: meanwhile the connection needs no buffer for requests.
const LONG_BYTES: u64 = 1 << 20;
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
    exchange.begin_flow(&claim, Supplier::Here);
    let limit = claim.transfer().request().rate_limit_bytes_per_second;
    if let Some(limit) = limit {
        let _ = exchange.input.connection().limit_send_rate(limit.get());
    }
    if reply.payload() >= LONG_BYTES {
        exchange.input.release();
    }
    let sent = reply.send(exchange, &claim, &replica).await;
    if limit.is_some() {
        let _ = exchange.input.connection().limit_send_rate(UNLIMITED);
    }
    exchange.note_tcp(&claim);
    match sent {
        Ok(()) => {
            let whole = matches!(reply.content, Content::Whole);
            let _ = claim.finish(reply.outcome(whole));
            if whole {
                exchange.complete_flow();
            }
            After::Next
        }
        Err(broken) => {
            claim.fail(broken.failure.clone());
            if broken.began {
                return After::Abort;
            }
            exchange.refuse(broken.failure.http_status, broken.failure.text()).await
        }
    }
}

/// An answer that could not be given to its end.
struct Broken {
    failure: Failure,
    /// The client has heard something of it already.
    began: bool,
}

/// The answer to a request, decided before anything is sent.
struct Reply {
    content: Content,
    size: u64,
    etag: String,
    last_modified: HttpDate,
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
        let last_modified = HttpDate::of(last_modified);
        let validators = Validators { etag: &etag, last_modified: Some(last_modified.unix_seconds()) };
        let content_type =
            if get.content_type.is_empty() { "application/octet-stream" } else { &get.content_type };
        let content = match http1::evaluate(request, Some(&validators)) {
            Condition::NotModified => Content::Nothing(304),
            Condition::PreconditionFailed => Content::Nothing(412),
            Condition::Proceed => match ranges(request, size, &validators) {
                Ranges::Whole => Content::Whole,
                Ranges::One(range) => Content::Part(range),
                Ranges::Many(ranges) => match boundary_nonce() {
                    Some(nonce) => Content::Parts(http1::Multipart::new(ranges, size, content_type, nonce)),
                    None => Content::Whole,
                },
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

    /// Why nothing of the replica is sent, for whoever asks in another way than it can be.
    fn refusal(&self) -> Option<String> {
        match &self.content {
            Content::Nothing(412) => Some("a precondition of the request does not hold".into()),
            Content::Unsatisfiable => {
                Some(format!("no byte of the range is in the file, which has {} bytes", self.size))
            }
            _ => None,
        }
    }

    /// What is sent before the bytes of the replica, or instead of them.
    fn head(&self, exchange: &Exchange<'_>) -> Vec<u8> {
        let request = exchange.request;
        let mut out = Vec::with_capacity(512);
        if let Some(line) = self.refusal() {
            let (etag, changed) = (format!("\"{}\"", self.etag), self.last_modified.to_string());
            let range = http1::unsatisfied_range(self.size).to_string();
            let all = [("ETag", &*etag), ("Last-Modified", &*changed), ("Content-Range", &*range)];
            let headers = if matches!(self.content, Content::Unsatisfiable) { &all[..] } else { &all[..2] };
            let text = TextAnswer {
                status: self.status(),
                line: &line,
                keep_alive: request.keep_alive(),
                client: request.version(),
                head_only: *request.method() == Method::Head,
                headers,
            };
            text.write(&mut out, &date());
            return out;
        }
        let mut head = ResponseHead::new(&mut out, self.status(), &date())
            .header("ETag", format_args!("\"{}\"", self.etag))
            .header("Last-Modified", self.last_modified)
            .header("Accept-Ranges", "bytes");
        head = match &self.content {
            Content::Nothing(_) | Content::Unsatisfiable => head,
            Content::Whole => head.header("Content-Type", &self.content_type),
            Content::Part(range) => head
                .header("Content-Type", &self.content_type)
                .header("Content-Range", http1::content_range(range, self.size)),
            Content::Parts(parts) => head.header("Content-Type", parts.content_type()),
        };
        if !self.content_disposition.is_empty() {
            head = head.header("Content-Disposition", &self.content_disposition);
        }
        head = digest_headers(head, request, &self.checksums);
        // RFC 9110 §15.4.5: with 304 a length would speak of another representation.
        let length = (!matches!(self.content, Content::Nothing(304))).then(|| self.length());
        head.optional_header("Content-Length", length)
            .connection(request.keep_alive(), request.version())
            .finish();
        out
    }

    async fn send(
        &self,
        exchange: &Exchange<'_>,
        claim: &Claim,
        replica: &Arc<Replica>,
    ) -> Result<(), Broken> {
        let sender = Sender::new(exchange.input.connection(), replica, exchange.port, claim);
        let sending = std::pin::pin!(self.send_all(exchange, claim, &sender));
        let failure = match select(sending, claim.until_stopped()).await {
            Either::Left((Ok(()), _)) => return Ok(()),
            Either::Left((Err(error), _)) => self.failure(&error, exchange, claim),
            Either::Right(((), _)) => {
                Failure::new(FailureCode::Internal, Side::Door, "the transfer was called off")
                    .with_status(503)
            }
        };
        Err(Broken { failure, began: sender.began() })
    }

    async fn send_all(
        &self,
        exchange: &Exchange<'_>,
        claim: &Claim,
        sender: &Sender<'_>,
    ) -> Result<(), SendError> {
        claim.transfer().progress().add_requested(self.payload());
        let head = self.head(exchange);
        match &self.content {
            Content::Nothing(_) | Content::Unsatisfiable => sender.send_bytes(head, false).await,
            Content::Whole => sender.send_behind(head, 0..self.size).await,
            Content::Part(range) => sender.send_behind(head, range.clone()).await,
            Content::Parts(parts) => {
                sender.send_bytes(head, true).await?;
                for (number, range) in parts.ranges().iter().enumerate() {
                    let mut part_head = Vec::new();
                    parts.write_part_head(number, &mut part_head);
                    sender.send_behind(part_head, range.clone()).await?;
                }
                let mut end = Vec::new();
                parts.write_end(&mut end);
                sender.send_bytes(end, false).await
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
            SendError::Read(ReadError::Disk { .. }) => Failure::disk(text),
            SendError::Read(ReadError::Truncated(_) | ReadError::Bad(_)) => Failure::replica_broken(text),
        }
    }
}

/// RFC 9110 §14.2: ranges count for GET alone, and only if what the client has is what there is.
fn ranges(request: &http1::Request, size: u64, validators: &Validators<'_>) -> Ranges {
    let Some(header) = request.header("range").filter(|_| *request.method() == Method::Get) else {
        return Ranges::Whole;
    };
    match request.header("if-range") {
        Some(condition) if !http1::if_range_holds(condition, validators) => Ranges::Whole,
        _ => http1::parse_ranges(header, size),
    }
}

/// Random bits for a boundary that cannot be in the data but by chance. Without them the whole file is sent instead.
fn boundary_nonce() -> Option<u128> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(u128::from_ne_bytes(bytes))
}
