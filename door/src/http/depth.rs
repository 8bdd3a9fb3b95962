//! The header `Depth` (RFC 4918 §10.2).

use hyper::{HeaderMap, StatusCode};

use super::answer::Refusal;

/// How far down a request reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The resource itself.
    Zero,
    /// What is directly in it, too.
    One,
    /// All that is below.
    Infinity,
}

impl Depth {
    /// Reads it; `None` when there is none.
    pub fn read(headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        match headers.get("depth").map(|value| value.as_bytes().trim_ascii()) {
            None => Ok(None),
            Some(b"0") => Ok(Some(Depth::Zero)),
            Some(b"1") => Ok(Some(Depth::One)),
            Some(value) if value.eq_ignore_ascii_case(b"infinity") => Ok(Some(Depth::Infinity)),
            Some(_) => Err(Refusal::new(StatusCode::BAD_REQUEST, "Depth is none of 0, 1 and infinity")),
        }
    }

    /// Reads it where only all or nothing makes sense; a missing one means all.
    pub fn all_or_nothing(headers: &HeaderMap, method: &str) -> Result<Self, Refusal> {
        match Self::read(headers)? {
            None => Ok(Depth::Infinity),
            Some(Depth::One) => {
                Err(Refusal::new(StatusCode::BAD_REQUEST, format!("{method} with Depth: 1 has no meaning")))
            }
            Some(depth) => Ok(depth),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_0_1_or_infinity_and_some_methods_know_no_1() {
        let table = [
            (None, Some(None), Some(Depth::Infinity)),
            (Some("0"), Some(Some(Depth::Zero)), Some(Depth::Zero)),
            (Some("1"), Some(Some(Depth::One)), None),
            (Some("Infinity"), Some(Some(Depth::Infinity)), Some(Depth::Infinity)),
            (Some("2"), None, None),
        ];
        for (value, read, all_or_nothing) in table {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert("depth", value.parse().unwrap());
            }
            assert_eq!(Depth::read(&headers).ok(), read, "{value:?}");
            assert_eq!(Depth::all_or_nothing(&headers, "COPY").ok(), all_or_nothing, "{value:?}");
        }
    }
}
