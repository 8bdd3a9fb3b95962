//! Where requests carry their credentials: `Authorization` and `?authz=`; and names with passwords.
//!
//! There is one credential or none, it is the one that was sent, several are refused, and no text that could reach a log
//! or a client holds any of it. A name and a password, written again, are the same.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use penstock_door::auth::basic;
use penstock_door::auth::secret::Secret;
use penstock_door::auth::shown::{self, Shown, ShownError};

use crate::input::Input;

/// All that a log can say of a credential.
const TOLD: [&str; 3] = ["Bearer(Secret(…))", "Basic(Secret(…))", "Negotiate(Secret(…))"];

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
    let pairs = query.into_iter().flat_map(|query| query.split('&'));
    let places = sent.len() + pairs.filter(|pair| pair.starts_with("authz=")).count();
    let found = shown::find(&headers, query);
    let text = match &found {
        Ok(found) => format!("{found:?}"),
        Err(error) => format!("{error} {error:?}"),
    };
    assert!(!text.contains(['\r', '\n']));
    let secret = match found {
        Ok(Shown::Nothing) => return assert_eq!(places, 0),
        Ok(Shown::Other) => return assert_eq!((places, sent.len()), (1, 1)),
        Err(ShownError::Several) => return assert!(places > 1),
        Err(ShownError::Empty) => return assert_eq!(places, 1),
        Ok(Shown::Bearer(secret) | Shown::Negotiate(secret)) => secret,
        Ok(Shown::Basic(secret)) => {
            password(&secret);
            secret
        }
    };
    assert_eq!(places, 1);
    assert!(!secret.expose().is_empty());
    if let [value] = sent.as_slice() {
        let space = value.iter().position(|byte| *byte == b' ').expect("a scheme, and what follows it");
        assert_eq!(value[space..].trim_ascii(), secret.expose());
    }
    assert!(TOLD.contains(&text.as_str()), "{text} tells more than the scheme");
}

/// RFC 7617 §2: a colon ends the name, and the password has those that follow.
fn password(encoded: &Secret) {
    let Some((user, password)) = basic::parse(encoded) else { return };
    assert!(!user.contains(':'));
    let written = [user.as_bytes(), b":", password.expose()].concat();
    let again = basic::parse(&Secret::new(STANDARD.encode(written))).expect("what was read can be written");
    assert_eq!((again.0, again.1.expose()), (user, password.expose()));
}
