//! Where a request goes: the parts of an `http` URL.

use std::fmt;

/// An `http` URL, taken apart.
#[derive(Clone, PartialEq, Eq)]
pub struct Location {
    /// `host:port`.
    pub authority: String,
    /// Path and query, as they go into the request line.
    pub target: String,
}

impl Location {
    /// Takes a URL apart. The error says what is wrong, without the URL: it may be a capability.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        let Some(rest) = url.strip_prefix("http://") else {
            return Err(
                "the URL is not http://; transfers with TLS are not measured, let the pool serve plain ones",
            );
        };
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.is_empty() || target.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err("the URL is malformed");
        }
        let port_given = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let authority = if port_given { authority.to_owned() } else { format!("{authority}:80") };
        Ok(Self { authority, target: if target.is_empty() { "/".to_owned() } else { target.to_owned() } })
    }
}

/// Without the query, which may be a capability.
impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.target.split('?').next().unwrap_or(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let parse = |url: &str| Location::parse(url).map(|found| (found.authority, found.target));
        let pair = |a: &str, t: &str| Ok((a.to_owned(), t.to_owned()));
        assert_eq!(parse("http://host:81/a/b?x=1"), pair("host:81", "/a/b?x=1"));
        assert_eq!(parse("http://[::1]:81"), pair("[::1]:81", "/"));
        assert_eq!(parse("http://host/a"), pair("host:80", "/a"));
        for wrong in ["https://host/a", "ftp://host", "http:///a", "http://host/a b", "host"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_capability_is_not_shown() {
        let shown = format!("{:?}", Location::parse("http://host:81/a?transfer=secret").unwrap());
        assert_eq!(shown, "http://host:81/a");
    }
}
