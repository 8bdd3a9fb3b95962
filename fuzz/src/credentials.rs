//! Where requests carry their credentials: `Authorization` and `?authz=`.
//!
//! There is one token or none, it is the one that was sent, several are refused, and no text that could reach a log or a
//! client holds any of it.

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use penstock_door::auth::{AuthError, bearer};

use crate::input::Input;

/// Shorter ones could be part of any text.
const TELLING: usize = 8;

/// Checks an input: the query, then values of `Authorization`, a line each.
pub fn check(data: &[u8]) {
    let mut lines = Input(data).lines(4);
    let query =
        lines.next().and_then(|query| std::str::from_utf8(query).ok()).filter(|query| !query.is_empty());
    let mut headers = HeaderMap::new();
    let mut sent = Vec::new();
    for line in lines {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            sent.push(line);
            headers.append(AUTHORIZATION, value);
        }
    }
    let names =
        query.into_iter().flat_map(|query| query.split('&')).filter(|pair| pair.starts_with("authz="));
    let places = sent.len() + names.count();
    let found = bearer::find(&headers, query);
    let shown = match &found {
        Ok(found) => format!("{found:?}"),
        Err(error) => format!("{error} {error:?}"),
    };
    assert!(!shown.contains(['\r', '\n']));
    match found {
        Ok(None) => assert_eq!(places, 0),
        Ok(Some(token)) => {
            assert_eq!(places, 1);
            let token = token.expose();
            assert!(!token.is_empty());
            if let [value] = sent.as_slice() {
                assert!(value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer ")));
                assert_eq!(value[7..].trim_ascii(), token);
            }
            let secret = String::from_utf8_lossy(token);
            assert!(secret.len() < TELLING || !shown.contains(&*secret));
        }
        Err(AuthError::Request(bearer::BearerError::Several)) => assert!(places > 1),
        Err(_) => assert!(places > 0),
    }
}
