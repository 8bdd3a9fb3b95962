//! HEAD: answered by the door itself; a pool is asked only for checksums that are wanted and not stored.

use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderValue};
use jiff::Timestamp;

use super::answer::{Answer, Refusal, bare};
use super::exchange::Exchange;
use super::precondition::{self, Verdict};
use super::{digest, directory_page};
use crate::auth::Operation;
use crate::namespace::{Entry, FileEntry, Kind};

/// Answers it.
pub async fn handle(exchange: &mut Exchange) -> Result<Answer, Refusal> {
    exchange.allow(Operation::ReadMetadata)?;
    let entry = exchange.existing().await?;
    let Kind::File(file) = &entry.kind else { return Ok(directory_page::head()) };
    if let Some(answer) = check_preconditions(exchange, &entry, file)? {
        return Ok(answer);
    }
    let known = digest::known(exchange, file).await;
    // Who asks for a checksum with HEAD asks again at 202: dCache and this project's pools do.
    let status = if known.pending { StatusCode::ACCEPTED } else { StatusCode::OK };
    let mut answer = bare(status);
    let headers = answer.headers_mut();
    if known.pending {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    }
    describe(&entry, file, headers);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(file.size));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    digest::answer(exchange.headers(), &known.checksums, headers);
    Ok(answer)
}

/// 304 or 412 where the request's conditions say so.
pub fn check_preconditions(
    exchange: &Exchange,
    entry: &Entry,
    file: &FileEntry,
) -> Result<Option<Answer>, Refusal> {
    match precondition::for_read(exchange.headers(), entry) {
        Verdict::Proceed => Ok(None),
        Verdict::NotModified => {
            let mut answer = bare(StatusCode::NOT_MODIFIED);
            describe(entry, file, answer.headers_mut());
            Ok(Some(answer))
        }
        verdict => Err(refuse(verdict)),
    }
}

/// The refusal of a precondition that does not hold or cannot be read.
pub fn refuse(verdict: Verdict) -> Refusal {
    match verdict {
        Verdict::Malformed(name) => {
            Refusal::new(StatusCode::BAD_REQUEST, format!("the header {name} is not a list of entity tags"))
        }
        Verdict::Proceed | Verdict::NotModified | Verdict::Failed => {
            Refusal::new(StatusCode::PRECONDITION_FAILED, "a precondition of the request does not hold")
        }
    }
}

/// Tells entity tag and time of a file.
pub fn describe(entry: &Entry, file: &FileEntry, headers: &mut HeaderMap) {
    // A replica id is letters and digits.
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{}\"", file.etag())) {
        headers.insert(header::ETAG, etag);
    }
    if let Ok(date) = HeaderValue::from_str(&http_date(entry.modified_at)) {
        headers.insert(header::LAST_MODIFIED, date);
    }
}

/// RFC 9110 §5.6.7.
pub fn http_date(time: Timestamp) -> String {
    // The format has no years before 1970, and httpdate none after 9999.
    let seconds = u64::try_from(time.as_second()).unwrap_or(0);
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds))
}
