//! The headers of a COPY that say what is wanted.
//!
//! Clients repeat headers, and send empty ones: a header that stands there several times with one value counts once,
//! and an empty value counts as none. Two different values are a contradiction: 400.

use hyper::{HeaderMap, StatusCode};

use super::super::answer::Refusal;
use super::credential::Source;
use crate::metrics::Direction;

/// Most range requests at once that a client may ask for.
const MAX_STREAMS: i64 = 100;

/// What a COPY asks for besides direction, remote side and handed-on headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wishes {
    /// A file that is there may be replaced.
    pub overwrite: bool,
    /// Fail when the remote side's checksum cannot be had.
    pub require_checksum: bool,
    /// Do not send HEAD to the remote side first.
    pub no_head: bool,
    /// Range requests at once, 1 to 100.
    pub streams: u32,
    /// Where the credential for the remote side comes from. `None`: as is usual for how the client authenticated.
    pub credential: Option<Source>,
}

/// Which way, and the URL of the other side as the client wrote it.
pub fn direction(headers: &HeaderMap) -> Result<(Direction, &str), Refusal> {
    match (single(headers, "source")?, single(headers, "destination")?) {
        (Some(source), None) => Ok((Direction::Pull, source)),
        (None, Some(destination)) => Ok((Direction::Push, destination)),
        (Some(_), Some(_)) => {
            Err(bad("a COPY has a Source (to pull from) or a Destination (to push to), not both"))
        }
        (None, None) => Err(bad("a COPY needs a Source (to pull from) or a Destination (to push to)")),
    }
}

impl Wishes {
    /// Reads them.
    pub fn read(headers: &HeaderMap) -> Result<Self, Refusal> {
        let flags = single(headers, "copy-flags")?.unwrap_or_default();
        Ok(Self {
            overwrite: overwrite(single(headers, "overwrite")?)?,
            require_checksum: require_checksum(single(headers, "requirechecksumverification")?)?,
            no_head: flags.split(',').any(|flag| flag.trim().eq_ignore_ascii_case("nohead")),
            streams: streams(single(headers, "x-number-of-streams")?)?,
            credential: Source::read(headers)?,
        })
    }
}

/// The one value of a header; `None` when it is missing or empty.
pub fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut found: Option<&str> = None;
    for value in headers.get_all(name) {
        let value = value.to_str().map_err(|_| bad(format!("the header {name} is not plain text")))?.trim();
        match found {
            _ if value.is_empty() => {}
            Some(first) if first != value => {
                return Err(bad(format!("the header {name} has two different values")));
            }
            _ => found = Some(value),
        }
    }
    Ok(found)
}

/// RFC 4918 §10.6: whether what is at the destination may go.
pub fn overwrite(value: Option<&str>) -> Result<bool, Refusal> {
    match value {
        None => Ok(true),
        Some(value) if value.eq_ignore_ascii_case("t") => Ok(true),
        Some(value) if value.eq_ignore_ascii_case("f") => Ok(false),
        Some(_) => Err(bad("Overwrite is neither T nor F")),
    }
}

fn require_checksum(value: Option<&str>) -> Result<bool, Refusal> {
    match value {
        None => Ok(true),
        Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
        Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
        Some(_) => Err(bad("RequireChecksumVerification is neither true nor false")),
    }
}

fn streams(value: Option<&str>) -> Result<u32, Refusal> {
    let Some(value) = value else { return Ok(1) };
    match value.parse::<i64>() {
        // 0 is how some clients write "as usual".
        Ok(0) => Ok(1),
        Ok(number @ 1..=MAX_STREAMS) => u32::try_from(number).map_err(|_| bad("X-Number-Of-Streams")),
        _ => Err(bad(format!("X-Number-Of-Streams is not a number from 0 to {MAX_STREAMS}"))),
    }
}

fn bad(text: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn wishes(lines: &[(&'static str, &'static str)]) -> Result<Wishes, u16> {
        Wishes::read(&headers(lines)).map_err(|refusal| refusal.status().as_u16())
    }

    const USUAL: Wishes =
        Wishes { overwrite: true, require_checksum: true, no_head: false, streams: 1, credential: None };

    #[test]
    fn what_is_not_said_has_its_usual_meaning_and_an_empty_value_says_nothing() {
        assert_eq!(wishes(&[]), Ok(USUAL));
        let empty = ["overwrite", "credential", "requirechecksumverification", "x-number-of-streams"];
        for name in empty {
            assert_eq!(wishes(&[(name, "")]), Ok(USUAL), "{name}");
        }
    }

    #[test]
    fn each_header_is_read_as_clients_write_it() {
        let credential = |source| Wishes { credential: Some(source), ..USUAL };
        let table: [(&[(&str, &str)], Wishes); 12] = [
            (&[("overwrite", "T")], USUAL),
            (&[("overwrite", "f")], Wishes { overwrite: false, ..USUAL }),
            (&[("credential", "none")], credential(Source::None)),
            (&[("credential", "gridsite")], credential(Source::GridSite)),
            (&[("credential", "OIDC")], credential(Source::Oidc)),
            (&[("requirechecksumverification", "true")], USUAL),
            (&[("requirechecksumverification", "False")], Wishes { require_checksum: false, ..USUAL }),
            (&[("x-number-of-streams", "0")], USUAL),
            (&[("x-number-of-streams", "100")], Wishes { streams: 100, ..USUAL }),
            (&[("copy-flags", "Other, NoHead")], Wishes { no_head: true, ..USUAL }),
            (
                &[("overwrite", "F"), ("overwrite", ""), ("overwrite", "F")],
                Wishes { overwrite: false, ..USUAL },
            ),
            (&[("secure-redirection", "1"), ("x-no-delegate", "true")], USUAL),
        ];
        for (lines, expected) in table {
            let lines: Vec<_> = lines.iter().map(|(name, value)| (leak(name), leak(value))).collect();
            assert_eq!(wishes(&lines), Ok(expected), "{lines:?}");
        }
    }

    fn leak(text: &str) -> &'static str {
        text.to_owned().leak()
    }

    #[test]
    fn what_has_no_meaning_is_a_bad_request() {
        for (name, value, status) in [
            ("overwrite", "maybe", 400),
            ("requirechecksumverification", "1", 400),
            ("credential", "basic", 400),
            ("x-number-of-streams", "-1", 400),
            ("x-number-of-streams", "101", 400),
            ("x-number-of-streams", "four", 400),
        ] {
            assert_eq!(wishes(&[(name, value)]), Err(status), "{name}: {value}");
        }
        assert_eq!(wishes(&[("overwrite", "T"), ("overwrite", "F")]), Err(400));
    }

    #[test]
    fn there_is_one_other_side() {
        let is = |lines: &[(&'static str, &'static str)]| {
            let headers = headers(lines);
            direction(&headers)
                .map(|(direction, url)| (direction, url.to_owned()))
                .map_err(|refusal| refusal.status())
        };
        let (pull, push) = (Direction::Pull, Direction::Push);
        assert_eq!(is(&[("source", "http://a/b")]), Ok((pull, "http://a/b".into())));
        assert_eq!(is(&[("source", " x "), ("source", "x"), ("destination", "")]), Ok((pull, "x".into())));
        assert_eq!(is(&[("destination", "x")]), Ok((push, "x".into())));
        for lines in [&[][..], &[("source", "x"), ("destination", "y")], &[("source", "x"), ("source", "y")]]
        {
            assert_eq!(is(lines), Err(StatusCode::BAD_REQUEST), "{lines:?}");
        }
    }
}
