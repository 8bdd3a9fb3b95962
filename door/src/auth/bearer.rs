//! Where a request carries its bearer token: `Authorization: Bearer` or `?authz=` (RFC 6750 §2), never both.

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;

use super::AuthError;
use super::secret::Secret;

/// The query parameter, as dCache and XRootD name it.
pub const QUERY_PARAMETER: &str = "authz";

/// Why the token of a request cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BearerError {
    /// RFC 6750 §2: at most one method.
    #[error("the request carries more than one token: send either an Authorization header or ?authz=, once")]
    Several,
    /// Nothing after the scheme or the equals sign.
    #[error("the request carries an empty token")]
    Empty,
}

/// The token of a request, `None` when it carries none.
pub fn find(headers: &HeaderMap, query: Option<&str>) -> Result<Option<Secret>, AuthError> {
    let in_query = query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .filter_map(|pair| pair.split_once('='))
        .filter(|(name, _)| *name == QUERY_PARAMETER)
        .map(|(_, value)| percent_encoding::percent_decode_str(value).collect::<Vec<u8>>())
        // XRootD's clients send the scheme here too.
        .map(|value| strip_scheme(&value).map_or(value.clone(), <[u8]>::to_vec));
    let mut found: Vec<Vec<u8>> = in_query.collect();
    for header in headers.get_all(AUTHORIZATION) {
        found.push(strip_scheme(header.as_bytes()).ok_or(AuthError::Scheme)?.to_vec());
    }
    match found.pop() {
        Some(_) if !found.is_empty() => Err(BearerError::Several.into()),
        Some(token) if token.is_empty() => Err(BearerError::Empty.into()),
        Some(token) => Ok(Some(Secret::new(token))),
        None => Ok(None),
    }
}

/// The scheme's name is case-insensitive (RFC 9110 §11.1).
fn strip_scheme(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_in(headers: &[&str], query: Option<&str>) -> Result<Option<String>, AuthError> {
        let mut map = HeaderMap::new();
        for value in headers {
            map.append(AUTHORIZATION, value.parse().unwrap());
        }
        let token = find(&map, query)?;
        Ok(token.map(|token| String::from_utf8(token.expose().to_vec()).unwrap()))
    }

    #[test]
    fn a_token_is_found_in_the_header_or_in_the_query() {
        let token = |text: &str| Some(text.to_owned());
        assert_eq!(find_in(&["Bearer abc"], None).unwrap(), token("abc"));
        assert_eq!(find_in(&["bearer  abc "], Some("x=y")).unwrap(), token("abc"));
        assert_eq!(find_in(&[], Some("x=1&authz=a%2Db&y")).unwrap(), token("a-b"));
        assert_eq!(find_in(&[], Some("authz=Bearer%20abc")).unwrap(), token("abc"));
        assert_eq!(find_in(&[], Some("authzz=1")).unwrap(), None);
        assert_eq!(find_in(&[], None).unwrap(), None);
    }

    #[test]
    fn two_tokens_none_at_all_and_other_schemes_are_refused() {
        let several = |result| matches!(result, Err(AuthError::Request(BearerError::Several)));
        assert!(several(find_in(&["Bearer a"], Some("authz=a"))));
        assert!(several(find_in(&["Bearer a", "Bearer a"], None)));
        assert!(several(find_in(&[], Some("authz=a&authz=b"))));
        assert!(matches!(find_in(&[], Some("authz=")), Err(AuthError::Request(BearerError::Empty))));
        assert!(matches!(find_in(&["Bearer  "], None), Err(AuthError::Request(BearerError::Empty))));
        assert!(matches!(find_in(&["Basic YTpi"], None), Err(AuthError::Scheme)));
    }
}
