//! Header fields that a user wants sent to a remote server (`TransferHeader…` of a COPY), and which of them go where.

use std::fmt;

use penstock_door_proto::v1;

/// Most fields of one transfer.
pub const MAX_HEADERS: usize = 64;
/// All names and values of one transfer together, in bytes: tokens of a few KiB are common.
pub const MAX_HEADER_BYTES: usize = 24 << 10;

/// Fields that belong to the message's framing, the connection, or to what the pool itself asks for: whoever could set
/// them could make the remote server see another request than the pool sends. They are left out.
const OURS: [&str; 24] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "digest",
    "expect",
    "host",
    "http2-settings",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "max-forwards",
    "range",
    "repr-digest",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "want-digest",
    "want-repr-digest",
];

/// Parts of names that tell of a credential: such fields go to the origin of the URL that they were given for, and to
/// no other.
const SECRET: [&str; 8] = ["auth", "cookie", "credential", "key", "password", "secret", "signature", "token"];

/// Why a field is refused. Never holds a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// RFC 9110 §5.1.
    #[error("'{0}' is not a header name")]
    Name(String),
    /// RFC 9110 §5.5; with CR or LF a value would be several fields.
    #[error("the value of '{0}' holds a line break, a control character or what is not ASCII")]
    Value(String),
    /// Too many.
    #[error("at most {MAX_HEADERS} are sent")]
    TooMany,
    /// Too much.
    #[error("they are longer than {MAX_HEADER_BYTES} bytes together")]
    TooLong,
}

/// Checked fields, in the order they were given.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// Checks fields. Those that the pool sets itself are left out.
    pub fn new(fields: impl IntoIterator<Item = (String, String)>) -> Result<Self, HeaderError> {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        for (name, value) in fields {
            if taken.len() >= MAX_HEADERS {
                return Err(HeaderError::TooMany);
            }
            bytes += name.len() + value.len();
            if bytes > MAX_HEADER_BYTES {
                return Err(HeaderError::TooLong);
            }
            let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            if name.is_empty() || !name.bytes().all(is_token) {
                return Err(HeaderError::Name(name.escape_debug().to_string().chars().take(40).collect()));
            }
            if !value.bytes().all(|b| (0x20..0x7f).contains(&b) || b == b'\t') {
                return Err(HeaderError::Value(name));
            }
            let lower = name.to_ascii_lowercase();
            if !OURS.contains(&lower.as_str()) && !lower.starts_with("proxy-") {
                taken.push((name, value));
            }
        }
        Ok(Self(taken))
    }

    /// Adds `Authorization` with a bearer token, unless there is one already.
    pub fn with_bearer(mut self, token: &str) -> Result<Self, HeaderError> {
        if self.get("authorization").is_none() {
            let added = Self::new([("Authorization".to_owned(), format!("Bearer {token}"))])?;
            self.0.extend(added.0);
        }
        Ok(self)
    }

    /// The first value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The fields for a request; without credentials when it goes to `another_origin` than they were given for.
    pub fn fields(&self, another_origin: bool) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .filter(move |(name, _)| !another_origin || !tells_of_credential(name))
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

fn tells_of_credential(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET.iter().any(|part| name.contains(part))
}

impl TryFrom<Vec<v1::Header>> for Headers {
    type Error = HeaderError;

    fn try_from(headers: Vec<v1::Header>) -> Result<Self, HeaderError> {
        Self::new(headers.into_iter().map(|header| (header.name, header.value)))
    }
}

/// Names only.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> Result<Headers, HeaderError> {
        Headers::new(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn names(headers: &Headers, another_origin: bool) -> Vec<&str> {
        headers.fields(another_origin).map(|(name, _)| name).collect()
    }

    #[test]
    fn what_is_the_pools_own_is_left_out() {
        let mut fields: Vec<_> = OURS.iter().map(|name| (*name, "1")).collect();
        fields.extend([
            ("TRANSFER-encoding", "chunked"),
            ("Proxy-Authorization", "x"),
            ("ClientInfo", "job-id=7"),
        ]);
        assert_eq!(names(&headers(&fields).unwrap(), false), ["ClientInfo"]);
    }

    #[test]
    fn a_field_that_would_be_more_than_one_is_refused() {
        let value = |v: &str| headers(&[("X", v)]);
        for wrong in ["a\r\nHost: b", "a\nb", "a\rb", "a\0", "\u{7f}", "é"] {
            assert_eq!(value(wrong), Err(HeaderError::Value("X".into())), "{wrong:?}");
        }
        assert!(value("").is_ok() && value("a\tb").is_ok());
        for wrong in ["", "a b", "a:", "a\r\nb", "é"] {
            assert!(matches!(headers(&[(wrong, "x")]), Err(HeaderError::Name(_))), "{wrong:?}");
        }
        assert_eq!(headers(&vec![("X", "y"); MAX_HEADERS + 1]), Err(HeaderError::TooMany));
        assert_eq!(headers(&[("X", &"y".repeat(MAX_HEADER_BYTES))]), Err(HeaderError::TooLong));
    }

    #[test]
    fn credentials_stay_with_their_origin() {
        let fields = [
            ("Authorization", "Bearer secret"),
            ("Cookie", "a=secret"),
            ("X-Auth-Token", "secret"),
            ("X-Amz-Signature", "secret"),
            ("ClientInfo", "job-id=7"),
        ];
        let headers = headers(&fields).unwrap();
        assert_eq!(names(&headers, false).len(), 5);
        assert_eq!(names(&headers, true), ["ClientInfo"]);
        assert!(!format!("{headers:?}").contains("secret"));
    }

    #[test]
    fn a_header_of_the_user_goes_before_a_token_of_the_door() {
        let with = headers(&[("authorization", "Basic x")]).unwrap().with_bearer("t").unwrap();
        assert_eq!(with.get("Authorization"), Some("Basic x"));
        assert_eq!(Headers::default().with_bearer("t").unwrap().get("Authorization"), Some("Bearer t"));
        assert!(Headers::default().with_bearer("t\r\nx: y").is_err());
    }
}
