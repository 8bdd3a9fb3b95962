//! What a request shows of who makes it: one credential, in the header `Authorization` or in `?authz=` (RFC 9110 §11.6.2,
//! RFC 6750 §2), never two.

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;

use super::secret::Secret;

/// The query parameter, as dCache and XRootD name it.
pub const QUERY_PARAMETER: &str = "authz";

/// Why the credential of a request cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShownError {
    /// RFC 6750 §2: at most one method.
    #[error("the request carries more than one token: send either an Authorization header or ?authz=, once")]
    Several,
    /// Nothing after the scheme or the equals sign.
    #[error("the request carries an empty token")]
    Empty,
}

/// A credential, of which nothing has been checked.
#[derive(Debug, Clone)]
pub enum Shown {
    /// None.
    Nothing,
    /// A token: a macaroon or a signed one.
    Bearer(Secret),
    /// A name and a password, still in base64 (RFC 7617).
    Basic(Secret),
    /// A token of Kerberos, still in base64 (RFC 4559).
    Negotiate(Secret),
    /// A scheme that no door knows.
    Other,
}

/// Finds the credential of a request.
pub fn find(headers: &HeaderMap, query: Option<&str>) -> Result<Shown, ShownError> {
    let in_query = query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .filter_map(|pair| pair.split_once('='))
        .filter(|(name, _)| *name == QUERY_PARAMETER)
        .map(|(_, value)| percent_encoding::percent_decode_str(value).collect::<Vec<u8>>())
        // XRootD's clients send the scheme here too.
        .map(|value| match credential(&value) {
            Shown::Bearer(token) => Shown::Bearer(token),
            _ => Shown::Bearer(Secret::new(value)),
        });
    let in_headers = headers.get_all(AUTHORIZATION).iter().map(|value| credential(value.as_bytes()));
    let mut found = in_query.chain(in_headers);
    let shown = match (found.next(), found.next()) {
        (None, _) => return Ok(Shown::Nothing),
        (Some(_), Some(_)) => return Err(ShownError::Several),
        (Some(shown), None) => shown,
    };
    match &shown {
        Shown::Bearer(secret) | Shown::Basic(secret) | Shown::Negotiate(secret)
            if secret.expose().is_empty() =>
        {
            Err(ShownError::Empty)
        }
        _ => Ok(shown),
    }
}

/// The scheme's name is case-insensitive (RFC 9110 §11.1).
fn credential(value: &[u8]) -> Shown {
    let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let (scheme, rest) = value.split_at(end);
    let secret = Secret::new(rest.trim_ascii());
    if scheme.eq_ignore_ascii_case(b"bearer") {
        Shown::Bearer(secret)
    } else if scheme.eq_ignore_ascii_case(b"basic") {
        Shown::Basic(secret)
    } else if scheme.eq_ignore_ascii_case(b"negotiate") {
        Shown::Negotiate(secret)
    } else {
        Shown::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_in(headers: &[&str], query: Option<&str>) -> Result<String, ShownError> {
        let mut map = HeaderMap::new();
        for value in headers {
            map.append(AUTHORIZATION, value.parse().unwrap());
        }
        let (scheme, secret) = match find(&map, query)? {
            Shown::Nothing => return Ok("nothing".into()),
            Shown::Other => return Ok("other".into()),
            Shown::Bearer(secret) => ("bearer", secret),
            Shown::Basic(secret) => ("basic", secret),
            Shown::Negotiate(secret) => ("negotiate", secret),
        };
        Ok(format!("{scheme} {}", std::str::from_utf8(secret.expose()).unwrap()))
    }

    #[test]
    fn a_credential_is_found_in_the_header_or_in_the_query() {
        let table: [(&[&str], Option<&str>, &str); 11] = [
            (&["Bearer abc"], None, "bearer abc"),
            (&["bearer  abc "], Some("x=y"), "bearer abc"),
            (&[], Some("x=1&authz=a%2Db&y"), "bearer a-b"),
            (&[], Some("authz=Bearer%20abc"), "bearer abc"),
            (&[], Some("authz=Basic"), "bearer Basic"),
            (&[], Some("authzz=1"), "nothing"),
            (&[], None, "nothing"),
            (&["BASIC YTpi"], None, "basic YTpi"),
            (&["Negotiate YII="], None, "negotiate YII="),
            (&["Digest x"], None, "other"),
            (&["abc"], None, "other"),
        ];
        for (headers, query, expected) in table {
            assert_eq!(find_in(headers, query).as_deref(), Ok(expected), "{headers:?} {query:?}");
        }
    }

    #[test]
    fn two_credentials_and_empty_ones_are_refused() {
        let table: [(&[&str], Option<&str>, ShownError); 7] = [
            (&["Bearer a"], Some("authz=a"), ShownError::Several),
            (&["Basic YTpi"], Some("authz=a"), ShownError::Several),
            (&["Bearer a", "Bearer a"], None, ShownError::Several),
            (&[], Some("authz=a&authz=b"), ShownError::Several),
            (&[], Some("authz="), ShownError::Empty),
            (&["Bearer  "], None, ShownError::Empty),
            (&["Basic"], None, ShownError::Empty),
        ];
        for (headers, query, error) in table {
            assert_eq!(find_in(headers, query), Err(error), "{headers:?} {query:?}");
        }
    }
}
