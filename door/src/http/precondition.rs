//! Preconditions of requests (RFC 9110 §13) on a file's entity tag and time.

use hyper::HeaderMap;
use hyper::header::{self, HeaderName};

use crate::namespace::Entry;
use crate::namespace::upload::Expectation;

/// What a request's preconditions say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    Failed,
    /// 400: a header cannot be read.
    Malformed(HeaderName),
}

/// A list of entity tags, or `*`.
#[derive(Debug, PartialEq, Eq)]
enum Tags {
    Any,
    List(Vec<Tag>),
}

#[derive(Debug, PartialEq, Eq)]
struct Tag {
    weak: bool,
    value: String,
}

/// For GET and HEAD, in the order of RFC 9110 §13.2.2.
pub fn for_read(headers: &HeaderMap, entry: &Entry) -> Verdict {
    let etag = entry.file().map(|file| file.etag());
    match evaluate_match(headers, Some(entry)) {
        Verdict::Proceed => {}
        verdict => return verdict,
    }
    match tags(headers, &header::IF_NONE_MATCH) {
        Err(verdict) => return verdict,
        Ok(Some(tags)) => {
            return if tags.matches_weakly(etag) { Verdict::NotModified } else { Verdict::Proceed };
        }
        Ok(None) => {}
    }
    // A date that cannot be read is ignored (§13.1.3).
    match date(headers, &header::IF_MODIFIED_SINCE) {
        Some(since) if modified_seconds(entry) <= since => Verdict::NotModified,
        _ => Verdict::Proceed,
    }
}

/// For PUT and DELETE: the verdict now, and what must still hold when an upload ends.
pub fn for_write(headers: &HeaderMap, entry: Option<&Entry>) -> (Verdict, Expectation) {
    let etag = entry.and_then(Entry::file).map(|file| file.etag());
    let same = || etag.map_or(Expectation::Present, |etag| Expectation::Etag(etag.to_owned()));
    match evaluate_match(headers, entry) {
        Verdict::Proceed => {}
        verdict => return (verdict, Expectation::Anything),
    }
    match tags(headers, &header::IF_NONE_MATCH) {
        Err(verdict) => return (verdict, Expectation::Anything),
        Ok(Some(Tags::Any)) if entry.is_some() => return (Verdict::Failed, Expectation::Absent),
        Ok(Some(Tags::Any)) => return (Verdict::Proceed, Expectation::Absent),
        Ok(Some(tags)) if tags.matches_weakly(etag) => return (Verdict::Failed, Expectation::Anything),
        Ok(_) => {}
    }
    let expects = match tags(headers, &header::IF_MATCH) {
        Ok(Some(Tags::Any)) => Expectation::Present,
        Ok(Some(Tags::List(_))) => same(),
        _ if entry.is_some() && date(headers, &header::IF_UNMODIFIED_SINCE).is_some() => same(),
        _ => Expectation::Anything,
    };
    (Verdict::Proceed, expects)
}

/// Whether a request that changes something has any.
pub fn are_in(headers: &HeaderMap) -> bool {
    [header::IF_MATCH, header::IF_NONE_MATCH, header::IF_UNMODIFIED_SINCE]
        .iter()
        .any(|name| headers.contains_key(name))
}

/// If-Match, else If-Unmodified-Since (§13.2.2 steps 1 and 2).
fn evaluate_match(headers: &HeaderMap, entry: Option<&Entry>) -> Verdict {
    let etag = entry.and_then(Entry::file).map(|file| file.etag());
    match tags(headers, &header::IF_MATCH) {
        Err(verdict) => verdict,
        Ok(Some(Tags::Any)) if entry.is_some() => Verdict::Proceed,
        Ok(Some(tags)) if tags.matches_strongly(etag) => Verdict::Proceed,
        Ok(Some(_)) => Verdict::Failed,
        Ok(None) => match date(headers, &header::IF_UNMODIFIED_SINCE) {
            // §13.1.4: ignored where there is nothing that could have been changed.
            Some(since) if entry.is_some_and(|entry| modified_seconds(entry) > since) => Verdict::Failed,
            _ => Verdict::Proceed,
        },
    }
}

fn modified_seconds(entry: &Entry) -> i64 {
    entry.modified_at.as_second()
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<i64> {
    let time = httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()?;
    let since_epoch = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since_epoch.as_secs()).ok()
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Verdict> {
    let malformed = || Verdict::Malformed(name.clone());
    let mut all = Vec::new();
    for value in headers.get_all(name) {
        match Tags::parse(value.to_str().map_err(|_| malformed())?).ok_or_else(malformed)? {
            Tags::Any if headers.get_all(name).iter().count() == 1 => return Ok(Some(Tags::Any)),
            Tags::Any => return Err(malformed()),
            Tags::List(tags) => all.extend(tags),
        }
    }
    Ok(headers.contains_key(name).then_some(Tags::List(all)))
}

impl Tags {
    /// RFC 9110 §8.8.3: `*`, or `[W/]"…"` separated by commas. Quotes that are left out are forgiven, as several
    /// clients send back what they show to their users.
    fn parse(value: &str) -> Option<Self> {
        if value.trim() == "*" {
            return Some(Tags::Any);
        }
        let mut tags = Vec::new();
        let mut rest = value.trim();
        while !rest.is_empty() {
            let (weak, tag) = rest.strip_prefix("W/").map_or((false, rest), |tag| (true, tag));
            let (value, after) = match tag.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => tag.split_at(tag.find(',').unwrap_or(tag.len())),
            };
            let after = after.trim_start();
            if !after.is_empty() && !after.starts_with(',') {
                return None;
            }
            tags.push(Tag { weak, value: value.trim().to_owned() });
            rest = after.trim_start_matches([',', ' ', '\t']);
        }
        (!tags.is_empty()).then_some(Tags::List(tags))
    }

    /// §8.8.3.2, strong comparison.
    fn matches_strongly(&self, etag: Option<&str>) -> bool {
        match self {
            Tags::Any => etag.is_some(),
            Tags::List(tags) => tags.iter().any(|tag| !tag.weak && Some(tag.value.as_str()) == etag),
        }
    }

    /// §8.8.3.2, weak comparison.
    fn matches_weakly(&self, etag: Option<&str>) -> bool {
        match self {
            Tags::Any => true,
            Tags::List(tags) => tags.iter().any(|tag| Some(tag.value.as_str()) == etag),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::{FileEntry, Kind};

    fn file() -> Entry {
        Entry {
            id: 2,
            name: "f".into(),
            kind: Kind::File(FileEntry {
                replica: "abc".into(),
                pool: "p".into(),
                size: 1,
                checksums: Vec::new(),
            }),
            created_at: "2026-01-01T00:00:00Z".parse().unwrap(),
            modified_at: "2026-01-01T00:00:00.5Z".parse().unwrap(),
        }
    }

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    const SAME_SECOND: &str = "Thu, 01 Jan 2026 00:00:00 GMT";
    const BEFORE: &str = "Wed, 31 Dec 2025 23:59:59 GMT";

    #[test]
    fn reading_obeys_rfc_9110_section_13() {
        use Verdict::*;
        let table: [(&[(&str, &str)], Verdict); 14] = [
            (&[], Proceed),
            (&[("if-match", "\"abc\"")], Proceed),
            (&[("if-match", "\"x\", \"abc\"")], Proceed),
            (&[("if-match", "*")], Proceed),
            (&[("if-match", "W/\"abc\"")], Failed),
            (&[("if-match", "\"x\"")], Failed),
            (&[("if-none-match", "\"abc\"")], NotModified),
            (&[("if-none-match", "W/\"abc\"")], NotModified),
            (&[("if-none-match", "\"x\"")], Proceed),
            (&[("if-none-match", "\"x\""), ("if-modified-since", SAME_SECOND)], Proceed),
            (&[("if-modified-since", SAME_SECOND)], NotModified),
            (&[("if-modified-since", BEFORE)], Proceed),
            (&[("if-unmodified-since", BEFORE)], Failed),
            (&[("if-match", "\"abc")], Malformed(header::IF_MATCH)),
        ];
        for (lines, verdict) in table {
            assert_eq!(for_read(&headers_static(lines), &file()), verdict, "{lines:?}");
        }
    }

    fn headers_static(lines: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        map
    }

    #[test]
    fn writing_carries_its_conditions_to_the_end_of_the_upload() {
        let etag = || Expectation::Etag("abc".into());
        let at_file = |lines| for_write(&headers(lines), Some(&file()));
        let at_nothing = |lines| for_write(&headers(lines), None);
        assert_eq!(at_file(&[]), (Verdict::Proceed, Expectation::Anything));
        assert_eq!(at_file(&[("if-match", "\"abc\"")]), (Verdict::Proceed, etag()));
        assert_eq!(at_file(&[("if-match", "*")]), (Verdict::Proceed, Expectation::Present));
        assert_eq!(at_file(&[("if-match", "\"x\"")]).0, Verdict::Failed);
        assert_eq!(at_file(&[("if-none-match", "*")]).0, Verdict::Failed);
        assert_eq!(at_file(&[("if-none-match", "\"abc\"")]).0, Verdict::Failed);
        assert_eq!(at_file(&[("if-unmodified-since", SAME_SECOND)]), (Verdict::Proceed, etag()));
        assert_eq!(at_nothing(&[("if-none-match", "*")]), (Verdict::Proceed, Expectation::Absent));
        assert_eq!(at_nothing(&[("if-match", "*")]).0, Verdict::Failed);
        assert_eq!(at_nothing(&[("if-match", "\"abc\"")]).0, Verdict::Failed);
        assert_eq!(at_nothing(&[]), (Verdict::Proceed, Expectation::Anything));
    }
}
