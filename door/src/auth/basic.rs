//! A name and a password as a header carries them (RFC 7617 §2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::secret::Secret;

/// Longest header value that is looked at, in bytes.
const MAX_BYTES: usize = 4096;

/// The name, in UTF-8, and the password. `None` for what is neither.
pub fn parse(encoded: &Secret) -> Option<(String, Secret)> {
    let encoded = encoded.expose();
    if encoded.len() > MAX_BYTES {
        return None;
    }
    let decoded = STANDARD.decode(encoded).ok()?;
    // A name has no colon, a password may.
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let name = std::str::from_utf8(&decoded[..colon]).ok()?;
    Some((name.to_owned(), Secret::new(&decoded[colon + 1..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_at_the_first_colon() {
        for (text, name, password) in [
            ("a:b", "a", "b"),
            ("a:b:c", "a", "b:c"),
            ("ä:", "ä", ""),
            (":x", "", "x"),
            ("a:\u{0}", "a", "\u{0}"),
        ] {
            let (found, secret) = parse(&Secret::new(STANDARD.encode(text))).unwrap();
            assert_eq!((found.as_str(), secret.expose()), (name, password.as_bytes()));
        }
        let long = STANDARD.encode(format!("a:{}", "x".repeat(MAX_BYTES)));
        let bytes = STANDARD.encode(b"\xff:a");
        for bad in ["", "a", "YQ==", "%%%", long.as_str(), bytes.as_str()] {
            assert!(parse(&Secret::new(bad)).is_none(), "{bad:.20}");
        }
    }
}
