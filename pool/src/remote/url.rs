//! URLs of remote servers: checked once, shown without what may be secret in them.

use std::fmt;

use ::url::{Host, Url};

/// Longest URL in bytes, redirects included.
pub const MAX_URL_BYTES: usize = 8 << 10;
/// What is shown of a path in texts.
const SHOWN_PATH_BYTES: usize = 200;

/// Why a URL cannot be used. The texts hold nothing of the URL but its scheme.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not a URL.
    #[error("it is not a URL: {0}")]
    Malformed(String),
    /// Another scheme.
    #[error("its scheme is '{0}'; only http and https are used")]
    Scheme(String),
    /// Credentials in the URL.
    #[error("it holds a user name or password; credentials belong into headers")]
    UserInfo,
    /// No host.
    #[error("it names no host")]
    NoHost,
    /// Port 0.
    #[error("its port is 0")]
    NoPort,
    /// Too long.
    #[error("it is longer than {MAX_URL_BYTES} bytes")]
    TooLong,
}

/// An http or https URL without user information.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteUrl {
    url: Url,
    origin: Origin,
}

/// Scheme, host and port: what a connection, and trust, is bound to (RFC 6454).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// https.
    pub secure: bool,
    /// As it stands in the URL; IPv6 addresses in brackets.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

impl Origin {
    /// The host without the brackets of an IPv6 address.
    #[must_use]
    pub fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl RemoteUrl {
    /// Checks a URL.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > MAX_URL_BYTES {
            return Err(UrlError::TooLong);
        }
        Self::check(Url::parse(text).map_err(|error| UrlError::Malformed(error.to_string()))?)
    }

    /// Where a `Location` leads to from here (RFC 9110 §10.2.2): relative or absolute.
    pub fn join(&self, location: &str) -> Result<Self, UrlError> {
        if location.len() > MAX_URL_BYTES {
            return Err(UrlError::TooLong);
        }
        Self::check(self.url.join(location).map_err(|error| UrlError::Malformed(error.to_string()))?)
    }

    fn check(mut url: Url) -> Result<Self, UrlError> {
        let secure = match url.scheme() {
            "http" => false,
            "https" => true,
            other => return Err(UrlError::Scheme(other.chars().take(20).collect())),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError::UserInfo);
        }
        let host = match url.host_str() {
            Some(host) if !host.is_empty() => host.to_owned(),
            _ => return Err(UrlError::NoHost),
        };
        let port = url.port_or_known_default().filter(|port| *port != 0).ok_or(UrlError::NoPort)?;
        // RFC 9110 §4.2.5: not sent.
        url.set_fragment(None);
        if url.as_str().len() > MAX_URL_BYTES {
            return Err(UrlError::TooLong);
        }
        Ok(Self { url, origin: Origin { secure, host, port } })
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// `Host` (RFC 9112 §3.2): the port only where it is not the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        match self.url.port() {
            Some(port) => format!("{}:{port}", self.origin.host),
            None => self.origin.host.clone(),
        }
    }

    /// The request's target: path and query. May hold a capability.
    #[must_use]
    pub fn target(&self) -> String {
        match self.url.query() {
            Some(query) => format!("{}?{query}", self.url.path()),
            None => self.url.path().to_owned(),
        }
    }

    /// The host, where it is an address.
    #[must_use]
    pub fn address(&self) -> Option<std::net::IpAddr> {
        match self.url.host()? {
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
            Host::Domain(_) => None,
        }
    }
}

/// Without the query, which may be a capability.
impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.url.path();
        let shown = path.get(..SHOWN_PATH_BYTES).unwrap_or(path);
        let more = if shown.len() < path.len() { "…" } else { "" };
        write!(f, "{}{shown}{more}", self.origin)
    }
}

impl fmt::Debug for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> RemoteUrl {
        RemoteUrl::parse(text).unwrap()
    }

    #[test]
    fn a_good_url_gives_what_a_request_needs() {
        let url = url("HTTPS://Far.example.org/a%20b/../c?authz=secret#part");
        assert_eq!(url.origin(), &Origin { secure: true, host: "far.example.org".into(), port: 443 });
        assert_eq!((url.authority().as_str(), url.target().as_str()), ("far.example.org", "/c?authz=secret"));
        let other = RemoteUrl::parse("http://[2001:db8::1]:8080").unwrap();
        assert_eq!((other.authority().as_str(), other.target().as_str()), ("[2001:db8::1]:8080", "/"));
        assert_eq!(other.address(), Some("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn whatever_is_no_plain_http_url_says_why() {
        let long = format!("http://a/{}", "x".repeat(MAX_URL_BYTES));
        let cases = [
            ("", "it is not a URL"),
            ("/relative", "it is not a URL"),
            ("file:///etc/passwd", "its scheme is 'file'"),
            ("ftp://a/b", "its scheme is 'ftp'"),
            ("http://user@a/", "it holds a user name"),
            ("http://:secret@a/", "it holds a user name"),
            ("http://a:0/", "its port is 0"),
            ("http://", "it is not a URL"),
            ("http://a:99999/", "it is not a URL"),
            ("http://exa mple/", "it is not a URL"),
            (&long, "it is longer than 8192 bytes"),
        ];
        for (text, expected) in cases {
            let error = RemoteUrl::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(expected) && !error.contains("secret"), "{text}: {error}");
        }
    }

    #[test]
    fn redirects_are_absolute_relative_or_refused() {
        let from = url("https://a:8443/dir/file?q");
        let cases = [
            ("http://b/x", Ok("http://b:80/x")),
            ("//b/x", Ok("https://b:443/x")),
            ("/x?y", Ok("https://a:8443/x")),
            ("other", Ok("https://a:8443/dir/other")),
            ("file:///etc/passwd", Err(UrlError::Scheme("file".into()))),
            ("http://u:p@b/", Err(UrlError::UserInfo)),
        ];
        for (location, expected) in cases {
            assert_eq!(
                from.join(location).map(|url| url.to_string()),
                expected.map(str::to_owned),
                "{location}"
            );
        }
    }

    #[test]
    fn numbers_that_are_addresses_are_seen_as_such() {
        // What a resolver would take for 127.0.0.1 as well.
        for text in ["http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://127.1/"] {
            assert_eq!(url(text).address(), Some("127.0.0.1".parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn nothing_that_may_be_secret_is_shown() {
        let shown = format!("{0} {0:?}", url("http://a/b?penstock-transfer=secret"));
        assert_eq!(shown, "http://a:80/b http://a:80/b");
        assert!(url(&format!("http://a/{}", "x".repeat(5000))).to_string().len() < 300);
    }
}
