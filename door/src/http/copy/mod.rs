//! COPY: from name to name at this door ([`within`]), or a third-party copy between a pool and a remote server, with
//! markers of its progress as the answer.
//!
//! * [`headers`]: what is wanted. [`handed_on`]: headers for the remote side. [`remote`]: its URL. [`credential`]: what it
//!   is shown besides.
//! * [`marker`], [`stream`]: the answer.
//!
//! Once a request is allowed and well formed it is answered with 202, and what goes wrong then is the last line of the
//! stream: clients show that line, but hardly any other status than 400, 403 and 404.

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use penstock_door_proto::v1 as proto;

use super::answer::{Answer, Refusal};
use super::exchange::Exchange;
use super::{condition, digest, get, head, locked, precondition, put};
use crate::auth::{Access, Operation};
use crate::metrics::Direction;
use crate::namespace::Kind;
use crate::namespace::upload::Expectation;
use crate::transfers::UploadRequest;
use crate::transfers::copy::{PullRequest, PushRequest, RemoteEnd, RunningCopy};

pub mod credential;
pub mod handed_on;
pub mod headers;
pub mod marker;
pub mod remote;
pub mod stream;
pub mod within;

use credential::Found;
use headers::Wishes;
use precondition::Verdict;
use remote::RemoteUrl;

/// The media type of a stream of markers.
const MARKER_STREAM: HeaderValue = HeaderValue::from_static("text/perf-marker-stream");

/// Answers it.
pub async fn handle(exchange: &mut Exchange) -> Result<Answer, Refusal> {
    if let Some(destination) = within::destination(exchange)? {
        return within::handle(exchange, destination).await;
    }
    if matches!(exchange.access, Access::Anonymous(_)) {
        // Whatever else they may: bytes that this site sends to others are on somebody's account.
        return Err(exchange.unauthenticated());
    }
    let (direction, url) = headers::direction(exchange.headers())?;
    let url = url.to_owned();
    exchange.allow(match direction {
        Direction::Pull => Operation::Upload,
        Direction::Push => Operation::Download,
    })?;
    if exchange.has_body() {
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a COPY with a body is not known"));
    }
    let wishes = Wishes::read(exchange.headers())?;
    let mut remote = remote_end(exchange, direction, &url, &wishes)?;
    match credential::find(exchange, wishes.credential, &remote.remote.headers).await? {
        Found::Nothing => {}
        Found::Credential(credential, renewal) => {
            remote.remote.credential = Some(credential);
            remote.renewal = renewal;
        }
        Found::Elsewhere(answer) => return Ok(answer),
    }
    let copy = match direction {
        Direction::Pull => {
            let copy = pull(exchange, &wishes, remote).await?;
            exchange.note_change();
            copy
        }
        Direction::Push => push(exchange, remote).await?,
    };
    Ok(answer(exchange, copy))
}

/// The other side, as the pool will see it.
fn remote_end(
    exchange: &Exchange,
    direction: Direction,
    url: &str,
    wishes: &Wishes,
) -> Result<RemoteEnd, Refusal> {
    let header = match direction {
        Direction::Pull => "Source",
        Direction::Push => "Destination",
    };
    let remote_url = RemoteUrl::parse(url, header)?;
    remote_url.check(&exchange.service.copy, header)?;
    let headers = handed_on::read(exchange.headers())?;
    Ok(RemoteEnd {
        origin: remote_url.origin(),
        renewal: None,
        remote: proto::Remote {
            url: remote_url.as_str().to_owned(),
            headers,
            require_checksum_verification: wishes.require_checksum,
            no_head: wishes.no_head,
            credential: None,
        },
    })
}

async fn pull(exchange: &Exchange, wishes: &Wishes, source: RemoteEnd) -> Result<RunningCopy, Refusal> {
    let existing = put::target(exchange).await?;
    let may_overwrite = exchange.may(Operation::Overwrite, &exchange.path);
    if existing.is_some() && !wishes.overwrite {
        return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, "File exists, and Overwrite is F"));
    }
    if existing.is_some() && !may_overwrite {
        return Err(Refusal::forbidden("the token does not allow to replace a file"));
    }
    let (verdict, expects) = precondition::for_write(exchange.headers(), existing.as_ref());
    if verdict != Verdict::Proceed {
        return Err(head::refuse(verdict));
    }
    let shown = condition::check(exchange).await?.shown;
    locked::check_name(exchange, &exchange.path, existing.is_some(), &shown).await?;
    // What is promised by Overwrite must hold when the bytes are there, too.
    let expects = if wishes.overwrite { expects } else { Expectation::Absent };
    let client = exchange.client();
    let upload = UploadRequest {
        marking: exchange.marking(&client),
        client,
        view_path: exchange.view_path.clone(),
        path: exchange.path.clone(),
        size_bytes: None,
        maximum_bytes: exchange.access.max_upload(),
        wanted: digest::wanted(exchange.headers()),
        expects,
        may_overwrite,
        replaces: existing.is_some(),
        shown,
        copy_of: None,
    };
    let expected = digest::stated(exchange.headers())?;
    let request = PullRequest { upload, source, streams: wishes.streams, expected };
    Ok(exchange.service.transfers.pull(request)?)
}

async fn push(exchange: &Exchange, destination: RemoteEnd) -> Result<RunningCopy, Refusal> {
    let entry = exchange.existing().await?;
    let Kind::File(file) = &entry.kind else {
        return Err(Refusal::new(StatusCode::CONFLICT, "it is a directory: files are copied one by one"));
    };
    if head::check_preconditions(exchange, &entry, file)?.is_some() {
        // Its header If-None-Match or If-Modified-Since says that there is nothing new to copy (RFC 9110 §13.1.2:
        // 412 for a method that is neither GET nor HEAD).
        return Err(head::refuse(Verdict::Failed));
    }
    let download = get::request(exchange, file.clone(), entry);
    Ok(exchange.service.transfers.push(PushRequest { download, destination })?)
}

fn answer(exchange: &Exchange, copy: RunningCopy) -> Answer {
    exchange.connection.give_up_when_unread(exchange.service.copy.reader_timeout.0);
    let trailers = announced_trailers(exchange);
    let trailers_for = trailers.is_some().then(|| exchange.headers().clone());
    let period = exchange.service.transfers.marker_period();
    let mut answer = Response::new(stream::body(copy, period, trailers_for));
    *answer.status_mut() = StatusCode::ACCEPTED;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, MARKER_STREAM);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(names) = trailers {
        headers.insert(header::TRAILER, names);
    }
    answer
}

/// The digests that the client wants and takes as trailers (RFC 9110 §6.5.1).
fn announced_trailers(exchange: &Exchange) -> Option<HeaderValue> {
    let takes = exchange.headers().get_all(header::TE).iter().any(|value| {
        let value = value.to_str().unwrap_or_default();
        value.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
    });
    let wants = |name: &HeaderName| exchange.headers().contains_key(name);
    match (takes, wants(&digest::WANT_DIGEST), wants(&digest::WANT_REPR_DIGEST)) {
        (true, true, true) => Some(HeaderValue::from_static("Digest, Repr-Digest")),
        (true, true, false) => Some(HeaderValue::from_static("Digest")),
        (true, false, true) => Some(HeaderValue::from_static("Repr-Digest")),
        _ => None,
    }
}
