//! The request target: path, query and authority (RFC 9112 §3.2).

use std::borrow::Cow;
use std::ops::Range;

use percent_encoding::percent_decode_str;

use super::BadRequest;

/// Where the parts of a target stand in it, and the path as it is meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Only of the absolute form.
    pub(super) authority: Option<Range<usize>>,
    pub(super) raw_path: Range<usize>,
    /// Without the question mark.
    pub(super) query: Option<Range<usize>>,
    /// The path percent-decoded, where that changes anything.
    pub(super) decoded_path: Option<String>,
}

impl Target {
    /// Takes a target apart. The origin form, the absolute form (http and https), and `*` for OPTIONS.
    pub(super) fn parse(target: &str, is_options: bool) -> Result<Self, BadRequest> {
        if target.contains('#') {
            return Err(BadRequest::malformed(
                "the request target holds '#'; fragments are not sent (RFC 9112 §3.2)",
            ));
        }
        if target == "*" && is_options {
            return Ok(Self { authority: None, raw_path: 0..1, query: None, decoded_path: None });
        }
        let (authority, path_start) = if target.starts_with('/') {
            (None, 0)
        } else {
            let authority = absolute_authority(target)?;
            let end = authority.end;
            (Some(authority), end)
        };
        let path_end = target[path_start..].find('?').map_or(target.len(), |i| path_start + i);
        let query = (path_end < target.len()).then(|| path_end + 1..target.len());
        let raw = &target[path_start..path_end];
        // RFC 9112 §3.2.1: an empty path of the absolute form means "/".
        let decoded_path = if raw.is_empty() { Some("/".to_owned()) } else { decode_path(raw)? };
        Ok(Self { authority, raw_path: path_start..path_end, query, decoded_path })
    }
}

fn absolute_authority(target: &str) -> Result<Range<usize>, BadRequest> {
    let scheme_length = ["http://", "https://"]
        .iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
        .map(|scheme| scheme.len())
        .ok_or_else(|| {
            BadRequest::malformed("the request target is neither a path nor an http or https URL")
        })?;
    let end = target[scheme_length..].find(['/', '?']).map_or(target.len(), |i| scheme_length + i);
    let authority = &target[scheme_length..end];
    // RFC 9110 §4.2.4: user information in an http URL is to be treated as an error.
    if authority.is_empty() || !is_authority(authority) {
        return Err(BadRequest::malformed(
            "the request target's host is empty or not a host name with optional port",
        ));
    }
    Ok(scheme_length..end)
}

/// Can this be `host[:port]`? Only the characters that can stand there; whether such a host exists is not asked.
pub(super) fn is_authority(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(&b))
}

/// `None` if there is nothing to decode.
fn decode_path(raw: &str) -> Result<Option<String>, BadRequest> {
    if !raw.contains('%') {
        return Ok(None);
    }
    let bytes = raw.as_bytes();
    for (i, _) in raw.match_indices('%') {
        if !bytes.get(i + 1..i + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return Err(BadRequest::malformed("the path holds '%' without two hexadecimal digits behind it"));
        }
    }
    let path = percent_decode_str(raw)
        .decode_utf8()
        .map_err(|_| BadRequest::malformed("the percent-decoded path is not UTF-8"))?;
    if path.contains('\0') {
        return Err(BadRequest::malformed("the path holds a NUL character"));
    }
    Ok(Some(path.into_owned()))
}

/// The percent-decoded value of the first `key` in a query. A key without `=` has an empty value; `+` is itself, as
/// capabilities in base64 hold it. A value that is not UTF-8 is none.
pub(super) fn query_value<'a>(query: &'a str, key: &str) -> Option<Cow<'a, str>> {
    query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (percent_decode_str(name).decode_utf8().ok()? == key)
            .then(|| percent_decode_str(value).decode_utf8().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Path (as it is meant), authority, query.
    type Parts<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

    #[test]
    fn targets_are_taken_apart() {
        let cases: [(&str, Parts); 10] = [
            ("/", ("/", None, None)),
            ("/a/b?x=1&y", ("/a/b", None, Some("x=1&y"))),
            ("/a%20b%C3%BC?", ("/a bü", None, Some(""))),
            ("/a?b?c", ("/a", None, Some("b?c"))),
            ("//a", ("//a", None, None)),
            ("/ü", ("/ü", None, None)),
            ("http://pool:2881/a?b", ("/a", Some("pool:2881"), Some("b"))),
            ("HTTPS://[2001:db8::1]:2881", ("/", Some("[2001:db8::1]:2881"), None)),
            ("http://pool?q", ("/", Some("pool"), Some("q"))),
            ("/http://x", ("/http://x", None, None)),
        ];
        for (target, (path, authority, query)) in cases {
            let parts = Target::parse(target, false).unwrap();
            assert_eq!(parts.decoded_path.as_deref().unwrap_or(&target[parts.raw_path]), path, "{target}");
            assert_eq!(parts.authority.map(|range| &target[range]), authority, "{target}");
            assert_eq!(parts.query.map(|range| &target[range]), query, "{target}");
        }
        assert_eq!(Target::parse("*", true).unwrap().raw_path, 0..1);
    }

    #[test]
    fn targets_that_mean_nothing_or_two_things_are_refused() {
        let cases = [
            "*",
            "a",
            "/a#b",
            "ftp://pool/a",
            "http:///a",
            "http://user:secret@pool/a",
            "pool:2881",
            "/%",
            "/%2",
            "/%zz",
            "/%ff",
            "/a%00b",
            "/%C3",
        ];
        for target in cases {
            let refused = Target::parse(target, false).unwrap_err();
            assert_eq!(refused.status, 400, "{target}");
            assert!(!refused.text.contains("secret"));
        }
    }

    #[test]
    fn query_values_are_found_and_decoded() {
        let query = "a=1&b&penstock%2Dtransfer=x%2By+z&a=2&bad=%ff&=v";
        let cases = [
            ("a", Some("1")),
            ("b", Some("")),
            ("penstock-transfer", Some("x+y+z")),
            ("bad", None),
            ("", Some("v")),
            ("c", None),
            ("A", None),
        ];
        for (key, value) in cases {
            assert_eq!(query_value(query, key).as_deref(), value, "{key}");
        }
    }
}
