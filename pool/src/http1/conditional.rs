//! Conditional requests (RFC 9110 §13).

use super::list::trim;
use super::{Method, Request, parse_date};

/// What distinguishes the present representation from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validators<'a> {
    /// The strong entity tag, without quotes.
    pub etag: &'a str,
    /// Seconds since 1970, as sent in Last-Modified.
    pub last_modified: Option<i64>,
}

/// What the conditions say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Do as asked.
    Proceed,
    /// 304: the client has it.
    NotModified,
    /// 412: it is not what the client thinks.
    PreconditionFailed,
}

/// Evaluates the conditions in the order of RFC 9110 §13.2.2; `If-Range` is not one of them. `current` is `None` where
/// there is nothing yet.
pub fn evaluate(request: &Request, current: Option<&Validators<'_>>) -> Condition {
    let reads = matches!(request.method(), Method::Get | Method::Head);
    let last_modified = current.and_then(|validators| validators.last_modified);
    let date = |name| request.header(name).and_then(parse_date);

    if request.header("if-match").is_some() {
        if !matches(request, "if-match", current, Comparison::Strong) {
            return Condition::PreconditionFailed;
        }
    } else if let (Some(date), Some(last_modified)) = (date("if-unmodified-since"), last_modified)
        && last_modified > date
    {
        return Condition::PreconditionFailed;
    }

    if request.header("if-none-match").is_some() {
        if matches(request, "if-none-match", current, Comparison::Weak) {
            return if reads { Condition::NotModified } else { Condition::PreconditionFailed };
        }
    } else if let (true, Some(date), Some(last_modified)) = (reads, date("if-modified-since"), last_modified)
        && last_modified <= date
    {
        return Condition::NotModified;
    }
    Condition::Proceed
}

/// RFC 9110 §8.8.3.2.
#[derive(Clone, Copy, PartialEq)]
enum Comparison {
    Strong,
    Weak,
}

/// Does any of the listed tags, or `*`, match what is there?
fn matches(request: &Request, name: &str, current: Option<&Validators<'_>>, comparison: Comparison) -> bool {
    let Some(current) = current else { return false };
    request.headers(name).any(|value| {
        trim(value) == "*"
            || EntityTags(value)
                .any(|(weak, tag)| tag == current.etag && (!weak || comparison == Comparison::Weak))
    })
}

/// The tags of a list, each with whether it is weak. Ends at the first thing that is no tag: what is malformed
/// matches nothing.
struct EntityTags<'a>(&'a str);

impl<'a> Iterator for EntityTags<'a> {
    type Item = (bool, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0.trim_start_matches([' ', '\t', ',']);
        let (weak, rest) = rest.strip_prefix("W/").map_or((false, rest), |rest| (true, rest));
        // RFC 9110 §8.8.3: no escapes inside.
        let (tag, rest) = rest.strip_prefix('"')?.split_once('"')?;
        let rest = rest.trim_start_matches([' ', '\t']);
        self.0 = rest;
        (rest.is_empty() || rest.starts_with(',')).then_some((weak, tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::head::tests::request;

    const CURRENT: Validators = Validators { etag: "a,b\\", last_modified: Some(784_111_777) };
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn verdict(method: &str, headers: &[(&str, &str)], current: Option<&Validators>) -> Condition {
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        evaluate(&request(&format!("{method} / HTTP/1.1\r\nHost: a\r\n{lines}")), current)
    }

    #[test]
    fn conditions_are_evaluated_in_the_order_of_the_standard() {
        use Condition::*;
        let tag = "\"a,b\\\"";
        let listed = "\"x\", W/\"y\" ,, \"a,b\\\"";
        let weak = "W/\"a,b\\\"";
        type Headers<'a> = &'a [(&'a str, &'a str)];
        let cases: [(&str, Headers, Condition); 27] = [
            ("GET", &[], Proceed),
            ("GET", &[("If-Match", tag)], Proceed),
            ("GET", &[("If-Match", "*")], Proceed),
            ("GET", &[("If-Match", listed)], Proceed),
            ("GET", &[("If-Match", "\"x\""), ("if-match", tag)], Proceed),
            ("GET", &[("If-Match", weak)], PreconditionFailed),
            ("GET", &[("If-Match", "\"x\"")], PreconditionFailed),
            ("PUT", &[("If-Match", "\"x\"")], PreconditionFailed),
            ("GET", &[("If-Match", "a,b\\")], PreconditionFailed),
            ("GET", &[("If-Match", "\"a,b\\")], PreconditionFailed),
            ("GET", &[("If-Match", "")], PreconditionFailed),
            ("GET", &[("If-Unmodified-Since", SAME)], Proceed),
            ("GET", &[("If-Unmodified-Since", BEFORE)], PreconditionFailed),
            ("GET", &[("If-Unmodified-Since", "yesterday")], Proceed),
            ("GET", &[("If-Match", tag), ("If-Unmodified-Since", BEFORE)], Proceed),
            ("GET", &[("If-None-Match", tag)], NotModified),
            ("HEAD", &[("If-None-Match", weak)], NotModified),
            ("GET", &[("If-None-Match", "*")], NotModified),
            ("PUT", &[("If-None-Match", "*")], PreconditionFailed),
            ("GET", &[("If-None-Match", "\"x\"")], Proceed),
            ("GET", &[("If-None-Match", "\"x\" \"a,b\\\"")], Proceed),
            ("GET", &[("If-Modified-Since", SAME)], NotModified),
            ("GET", &[("If-Modified-Since", BEFORE)], Proceed),
            ("PUT", &[("If-Modified-Since", SAME)], Proceed),
            ("GET", &[("If-Modified-Since", "soon")], Proceed),
            ("GET", &[("If-None-Match", "\"x\""), ("If-Modified-Since", SAME)], Proceed),
            ("GET", &[("If-Match", "\"x\""), ("If-None-Match", tag)], PreconditionFailed),
        ];
        for (method, headers, expected) in cases {
            assert_eq!(verdict(method, headers, Some(&CURRENT)), expected, "{method} {headers:?}");
        }
    }

    #[test]
    fn nothing_there_matches_nothing() {
        assert_eq!(verdict("PUT", &[("If-None-Match", "*")], None), Condition::Proceed);
        assert_eq!(verdict("PUT", &[("If-Match", "*")], None), Condition::PreconditionFailed);
        assert_eq!(verdict("GET", &[("If-Modified-Since", SAME)], None), Condition::Proceed);
        let undated = Validators { last_modified: None, ..CURRENT };
        assert_eq!(verdict("GET", &[("If-Modified-Since", SAME)], Some(&undated)), Condition::Proceed);
    }
}
