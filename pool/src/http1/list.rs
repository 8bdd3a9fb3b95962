//! Comma-separated header values.

/// The elements of a list value (RFC 9110 §5.6.1), trimmed, empty ones left out. A comma inside a quoted string does
/// not separate. Not for entity tags, in which a backslash is a character like others.
pub fn elements(value: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    value
        .split(move |c: char| {
            if escaped {
                escaped = false;
                return false;
            }
            match c {
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                ',' => return !quoted,
                _ => {}
            }
            false
        })
        .map(trim)
        .filter(|element| !element.is_empty())
}

/// Without the optional white space (RFC 9110 §5.6.3) around it, and no other.
pub(super) fn trim(value: &str) -> &str {
    value.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_split_trimmed_and_never_empty() {
        let cases: [(&str, &[&str]); 7] = [
            ("", &[]),
            (" , ,\t,", &[]),
            ("a", &["a"]),
            ("a,b", &["a", "b"]),
            (" close ,\tkeep-alive ", &["close", "keep-alive"]),
            ("a=\"x,y\", b", &["a=\"x,y\"", "b"]),
            ("a=\"x\\\",y\",b", &["a=\"x\\\",y\"", "b"]),
        ];
        for (value, expected) in cases {
            assert_eq!(elements(value).collect::<Vec<_>>(), expected, "{value:?}");
        }
    }
}
