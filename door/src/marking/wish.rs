//! What a request says of its marking: `SciTag`, `TransferHeaderSciTag`, `?scitag.flow=`, the first that is there.

use std::ops::RangeInclusive;

use hyper::HeaderMap;

/// Valid tags: experiment << 6 | activity, with an experiment.
pub const TAGS: RangeInclusive<u32> = 65..=65_535;
/// The query parameter.
pub const PARAMETER: &str = "scitag.flow";
/// The headers, the first of which goes first. The second one is also handed on to the other side of a copy.
const HEADERS: [&str; 2] = ["scitag", "transferheaderscitag"];
/// Of a value that is none, in the log.
const SHOWN_CHARACTERS: usize = 40;

/// What a request says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Nothing.
    Unsaid,
    /// A tag.
    Tagged(u32),
    /// Something that is none. A transfer does not fail for it.
    Invalid {
        /// Where it stands.
        from: &'static str,
        /// As it may stand in a log.
        value: String,
    },
}

/// Reads it. `parameter` is the value of `?scitag.flow=`. An empty value says nothing.
pub fn read(headers: &HeaderMap, parameter: Option<&str>) -> Wish {
    for name in HEADERS {
        let mut values = headers.get_all(name).iter().map(|value| value.as_bytes().trim_ascii());
        let Some(value) = values.find(|value| !value.is_empty()) else { continue };
        // Two different ones are none.
        return match values.find(|other| !other.is_empty() && *other != value) {
            Some(_) => Wish::Invalid { from: name, value: "two different values".to_owned() },
            None => tag(name, &String::from_utf8_lossy(value)),
        };
    }
    match parameter.filter(|value| !value.is_empty()) {
        Some(value) => tag(PARAMETER, value),
        None => Wish::Unsaid,
    }
}

fn tag(from: &'static str, value: &str) -> Wish {
    // Digits only: "+65" is no number of the specification.
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    match value.parse().ok().filter(|tag| digits && TAGS.contains(tag)) {
        Some(tag) => Wish::Tagged(tag),
        None => {
            let shown: String = value.chars().take(SHOWN_CHARACTERS).collect();
            Wish::Invalid { from, value: shown.escape_default().to_string() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &[(&'static str, &[u8])], parameter: Option<&str>) -> Wish {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, hyper::header::HeaderValue::from_bytes(value).unwrap());
        }
        read(&headers, parameter)
    }

    #[test]
    fn the_first_that_is_there_counts() {
        for (lines, parameter, expected) in [
            (&[][..], None, Wish::Unsaid),
            (&[("scitag", b"65" as &[u8])], None, Wish::Tagged(65)),
            (&[("scitag", b"66"), ("transferheaderscitag", b"67")], Some("68"), Wish::Tagged(66)),
            (&[("transferheaderscitag", b"67")], Some("68"), Wish::Tagged(67)),
            (&[], Some("68"), Wish::Tagged(68)),
            (&[("scitag", b""), ("transferheaderscitag", b" ")], Some("65535"), Wish::Tagged(65_535)),
            (&[("scitag", b" 66 "), ("scitag", b"66")], None, Wish::Tagged(66)),
            (&[("scitag", b"")], Some(""), Wish::Unsaid),
        ] {
            assert_eq!(said(lines, parameter), expected, "{lines:?} {parameter:?}");
        }
    }

    #[test]
    fn what_is_no_tag_marks_nothing_and_hides_none_of_those_behind_it() {
        for value in ["64", "0", "65536", "-1", "+65", "0x41", "atlas", "6 6", "99999999999999999999"] {
            let expected = Wish::Invalid { from: "scitag", value: value.to_owned() };
            assert_eq!(
                said(&[("scitag", value.as_bytes()), ("transferheaderscitag", b"66")], Some("67")),
                expected
            );
        }
        let Wish::Invalid { from: "scitag.flow", value } = said(&[], Some("a\u{1b}[31m")) else {
            panic!("valid")
        };
        assert_eq!(value, "a\\u{1b}[31m");
        let long = "9".repeat(1000);
        let Wish::Invalid { value, .. } = said(&[], Some(&long)) else { panic!("valid") };
        assert_eq!(value.len(), SHOWN_CHARACTERS);
        let two = said(&[("scitag", b"66"), ("scitag", b"67")], None);
        assert!(matches!(two, Wish::Invalid { from: "scitag", .. }), "{two:?}");
        assert!(matches!(said(&[("scitag", b"\xff\xfe")], None), Wish::Invalid { .. }));
    }
}
