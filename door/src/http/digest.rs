//! The checksum headers of requests and answers: RFC 3230 (`Want-Digest`, `Digest`) and RFC 9530 (`Want-Repr-Digest`,
//! `Repr-Digest`), side by side.

use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, StatusCode};

use super::answer::Refusal;
use super::exchange::Exchange;
use crate::checksum::{self, Algorithm, Checksum};
use crate::namespace::FileEntry;
use crate::transfers::Computed;

/// RFC 3230.
pub static WANT_DIGEST: HeaderName = HeaderName::from_static("want-digest");
/// RFC 3230.
pub static DIGEST: HeaderName = HeaderName::from_static("digest");
/// RFC 9530.
pub static WANT_REPR_DIGEST: HeaderName = HeaderName::from_static("want-repr-digest");
/// RFC 9530.
pub static REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
/// RFC 9530.
pub static CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
/// RFC 1864.
pub static CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// The algorithms that a request wants, by either header.
pub fn wanted(headers: &HeaderMap) -> Vec<Algorithm> {
    let mut wanted = wanted_digest(headers);
    for algorithm in wanted_repr_digest(headers) {
        if !wanted.contains(&algorithm) {
            wanted.push(algorithm);
        }
    }
    wanted
}

/// What is known of a file for a request that wants checksums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The checksums.
    pub checksums: Vec<Checksum>,
    /// The one that is wanted is being computed.
    pub pending: bool,
}

/// The checksums of a file. If none of those that the request wants is stored, the pool computes the most wanted, and
/// the request waits a while for it. What is wanted but less so, and stored, is good enough (RFC 3230 §4.3.1).
pub async fn known(exchange: &Exchange, file: &FileEntry) -> Known {
    let mut known = Known { checksums: file.checksums.clone(), pending: false };
    let wanted = wanted(exchange.headers());
    let stored = |wanted: &Algorithm| file.checksums.iter().any(|checksum| checksum.algorithm == *wanted);
    let Some(most_wanted) = wanted.first().filter(|_| !wanted.iter().any(stored)) else { return known };
    let patience = exchange.service.digest_patience;
    match exchange.service.transfers.compute(file, *most_wanted, patience).await {
        Computed::Done(checksum) => known.checksums.push(checksum),
        Computed::Pending => known.pending = true,
        Computed::Impossible => {}
    }
    known
}

/// What the client says of the file that is to be copied, by either header.
pub fn stated(headers: &HeaderMap) -> Result<Vec<Checksum>, Refusal> {
    let bad = |name: &HeaderName| {
        Refusal::new(StatusCode::BAD_REQUEST, format!("the header {name} holds a value that is no checksum"))
    };
    let mut stated = checksum::parse_digest(&joined(headers, &DIGEST)).ok_or_else(|| bad(&DIGEST))?;
    for also in
        checksum::parse_repr_digest(&joined(headers, &REPR_DIGEST)).ok_or_else(|| bad(&REPR_DIGEST))?
    {
        checksum::state(&mut stated, also).ok_or_else(|| {
            let text = format!("the headers {DIGEST} and {REPR_DIGEST} contradict each other");
            Refusal::new(StatusCode::BAD_REQUEST, text)
        })?;
    }
    Ok(stated)
}

/// Adds what was asked for and is known, in the form in which it was asked for.
pub fn answer(request: &HeaderMap, known: &[Checksum], answer: &mut HeaderMap) {
    let pick = |wanted: Vec<Algorithm>| -> Vec<&Checksum> {
        wanted.iter().filter_map(|algorithm| known.iter().find(|sum| sum.algorithm == *algorithm)).collect()
    };
    let forms = [
        (&DIGEST, checksum::digest_list(pick(wanted_digest(request)))),
        (&REPR_DIGEST, checksum::repr_digest_list(pick(wanted_repr_digest(request)))),
    ];
    for (name, value) in forms {
        // The lists are base64, hexadecimal and names, so that they are always header values.
        if let (false, Ok(value)) = (value.is_empty(), HeaderValue::from_str(&value)) {
            answer.insert(name.clone(), value);
        }
    }
}

fn wanted_digest(headers: &HeaderMap) -> Vec<Algorithm> {
    checksum::parse_want_digest(&joined(headers, &WANT_DIGEST))
}

fn wanted_repr_digest(headers: &HeaderMap) -> Vec<Algorithm> {
    checksum::parse_want_repr_digest(&joined(headers, &WANT_REPR_DIGEST))
}

/// Several fields of a name are one list (RFC 9110 §5.3).
fn joined(headers: &HeaderMap, name: &HeaderName) -> String {
    let values: Vec<_> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    values.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_header_is_answered_in_its_own_form_and_only_when_asked_for() {
        let known = [
            Checksum::new(Algorithm::Adler32, vec![3, 0xda, 1, 0x95]).unwrap(),
            Checksum::new(Algorithm::Md5, vec![0; 16]).unwrap(),
        ];
        let told = |request: &[(&HeaderName, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in request {
                headers.append((*name).clone(), HeaderValue::from_static(value));
            }
            let mut told = HeaderMap::new();
            answer(&headers, &known, &mut told);
            let value = |name| told.get(name).map(|value| value.to_str().unwrap().to_owned());
            (value(&DIGEST), value(&REPR_DIGEST))
        };
        assert_eq!(told(&[]), (None, None));
        assert_eq!(told(&[(&WANT_DIGEST, "sha-256")]), (None, None));
        assert_eq!(told(&[(&WANT_DIGEST, "adler32")]), (Some("adler32=03da0195".into()), None));
        assert_eq!(
            told(&[(&WANT_DIGEST, "adler32;q=0.1"), (&WANT_DIGEST, "md5"), (&WANT_REPR_DIGEST, "adler=5")]),
            (Some("md5=AAAAAAAAAAAAAAAAAAAAAA==,adler32=03da0195".into()), Some("adler=:A9oBlQ==:".into()))
        );
    }
}
