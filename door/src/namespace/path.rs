//! Paths of the namespace: a newtype that can only hold a normalised path.

use std::fmt;

/// Longest component in bytes, as on the file systems that users copy to and from.
pub const MAX_COMPONENT_BYTES: usize = 255;
/// Longest path in bytes.
pub const MAX_PATH_BYTES: usize = 4096;

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not begin with a slash.
    #[error("the path does not begin with \"/\"")]
    Relative,
    /// It has a component `.` or `..`.
    #[error("the path has a component \"{0}\"; write the path without it")]
    Dots(&'static str),
    /// It holds a NUL, which no file system can keep.
    #[error("the path holds the byte 0")]
    Nul,
    /// A component holds a slash (percent-encoded by the client).
    #[error("a component of the path holds an encoded \"/\"")]
    EncodedSlash,
    /// It is not UTF-8.
    #[error("the path is not valid UTF-8")]
    NotUtf8,
    /// A percent sign without two hexadecimal digits.
    #[error("the path has a \"%\" that is not followed by two hexadecimal digits")]
    BadEncoding,
    /// A component is too long.
    #[error("a component of the path is longer than {MAX_COMPONENT_BYTES} bytes")]
    LongComponent,
    /// The whole is too long.
    #[error("the path is longer than {MAX_PATH_BYTES} bytes")]
    LongPath,
}

impl PathError {
    /// Whether the path is well formed and only too long (ENAMETOOLONG: 414, not 400).
    pub fn is_length(&self) -> bool {
        matches!(self, PathError::LongComponent | PathError::LongPath)
    }
}

/// An absolute path: no empty, `.` or `..` component, no NUL, every component at most 255 bytes of UTF-8, all at
/// most 4096. The root has no components. Comparison is by bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NsPath {
    // Empty for the root, else "/a/b".
    text: String,
}

impl NsPath {
    /// The root, `/`.
    pub const fn root() -> Self {
        Self { text: String::new() }
    }

    /// Reads an absolute path that is not percent-encoded. Empty components (`//`, a slash at the end) are dropped.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let rest = text.strip_prefix('/').ok_or(PathError::Relative)?;
        let mut path = Self::root();
        for component in rest.split('/').filter(|component| !component.is_empty()) {
            path.push(component)?;
        }
        Ok(path)
    }

    /// Reads the path of a URL. Each component is decoded by itself, so that an encoded slash cannot become a
    /// separator.
    pub fn from_url(encoded: &str) -> Result<Self, PathError> {
        let rest = encoded.strip_prefix('/').ok_or(PathError::Relative)?;
        let mut path = Self::root();
        for component in rest.split('/').filter(|component| !component.is_empty()) {
            path.push(&decode(component)?)?;
        }
        Ok(path)
    }

    fn push(&mut self, component: &str) -> Result<(), PathError> {
        match component {
            "." => return Err(PathError::Dots(".")),
            ".." => return Err(PathError::Dots("..")),
            _ => {}
        }
        if component.contains('/') {
            return Err(PathError::EncodedSlash);
        }
        if component.contains('\0') {
            return Err(PathError::Nul);
        }
        if component.len() > MAX_COMPONENT_BYTES {
            return Err(PathError::LongComponent);
        }
        if self.text.len() + 1 + component.len() > MAX_PATH_BYTES {
            return Err(PathError::LongPath);
        }
        self.text.push('/');
        self.text.push_str(component);
        Ok(())
    }

    /// The path with a leading slash; `/` for the root.
    pub fn as_str(&self) -> &str {
        if self.text.is_empty() { "/" } else { &self.text }
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.text.is_empty()
    }

    /// The components, from the root down.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.text.split('/').skip(1)
    }

    /// The last component; `None` for the root.
    pub fn name(&self) -> Option<&str> {
        self.text.rsplit_once('/').map(|(_, name)| name)
    }

    /// The directory that holds it; `None` for the root.
    pub fn parent(&self) -> Option<NsPath> {
        self.text.rsplit_once('/').map(|(parent, _)| NsPath { text: parent.to_owned() })
    }

    /// The form in which the namespace keeps a path: empty for the root, so that what is below begins with it and "/".
    pub(crate) fn as_key(&self) -> &str {
        &self.text
    }

    /// Reads what [`Self::as_key`] gave.
    pub(crate) fn from_key(key: &str) -> Result<Self, PathError> {
        if key.is_empty() { Ok(Self::root()) } else { Self::parse(key) }
    }

    /// The directories above it, the root first.
    pub fn ancestors(&self) -> Vec<NsPath> {
        self.text.match_indices('/').map(|(at, _)| NsPath { text: self.text[..at].to_owned() }).collect()
    }

    /// The first components of it.
    pub fn first(&self, components: usize) -> NsPath {
        let end = self.text.match_indices('/').nth(components).map_or(self.text.len(), |(at, _)| at);
        NsPath { text: self.text[..end].to_owned() }
    }

    /// What is left of it below another path. `None` when it is not within that.
    pub fn below(&self, ancestor: &NsPath) -> Option<NsPath> {
        let rest = self.text.strip_prefix(&ancestor.text)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| NsPath { text: rest.to_owned() })
    }

    /// This path with another below it: what a client sees under a changed root.
    pub fn join(&self, below: &NsPath) -> Result<NsPath, PathError> {
        if self.text.len() + below.text.len() > MAX_PATH_BYTES {
            return Err(PathError::LongPath);
        }
        Ok(NsPath { text: format!("{}{}", self.text, below.text) })
    }

    /// This path with one more component.
    pub fn child(&self, name: &str) -> Result<NsPath, PathError> {
        let mut path = self.clone();
        path.push(name)?;
        Ok(path)
    }

    /// Whether this path is `ancestor` or below it. Whole components count: `/foo/bargain` is not below `/foo/bar`.
    pub fn is_within(&self, ancestor: &NsPath) -> bool {
        self.text.strip_prefix(&ancestor.text).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Percent-encoded for a URL (RFC 3986 §3.3).
    pub fn to_url(&self) -> String {
        use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
        // Only unreserved characters and the separator stay as they are; this is safe in HTML and XML too.
        const KEPT: &AsciiSet =
            &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
        utf8_percent_encode(self.as_str(), KEPT).to_string()
    }
}

fn decode(component: &str) -> Result<String, PathError> {
    let bytes = component.as_bytes();
    let complete = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%').all(|(at, _)| {
        bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if !complete {
        return Err(PathError::BadEncoding);
    }
    let decoded = percent_encoding::percent_decode(bytes).decode_utf8().map_err(|_| PathError::NotUtf8)?;
    Ok(decoded.into_owned())
}

impl fmt::Display for NsPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for NsPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_url_becomes_one_normal_path_or_is_refused() {
        let good = [
            ("/", "/"),
            ("//", "/"),
            ("/a/b", "/a/b"),
            ("/a//b/", "/a/b"),
            ("/a%20b/%C3%A9", "/a b/é"),
            ("/a+b", "/a+b"),
            ("/...", "/..."),
        ];
        for (url, path) in good {
            assert_eq!(NsPath::from_url(url).unwrap().as_str(), path, "{url}");
        }
        let bad = [
            ("a", PathError::Relative),
            ("", PathError::Relative),
            ("/a/../b", PathError::Dots("..")),
            ("/a/%2e%2E/b", PathError::Dots("..")),
            ("/./b", PathError::Dots(".")),
            ("/a%2Fb", PathError::EncodedSlash),
            ("/a%00b", PathError::Nul),
            ("/a%ff", PathError::NotUtf8),
            ("/a%4", PathError::BadEncoding),
            ("/a%zz", PathError::BadEncoding),
        ];
        for (url, error) in bad {
            assert_eq!(NsPath::from_url(url).unwrap_err(), error, "{url}");
        }
    }

    #[test]
    fn lengths_are_limited_per_component_and_in_all() {
        assert!(NsPath::parse(&format!("/{}", "a".repeat(255))).is_ok());
        assert_eq!(NsPath::parse(&format!("/{}", "a".repeat(256))).unwrap_err(), PathError::LongComponent);
        assert!(NsPath::parse(&"/aaaaaaa".repeat(512)).is_ok());
        assert_eq!(NsPath::parse(&format!("{}/b", "/aaaaaaa".repeat(512))).unwrap_err(), PathError::LongPath);
    }

    #[test]
    fn being_within_counts_whole_components() {
        let within = |path: &str, ancestor: &str| {
            NsPath::parse(path).unwrap().is_within(&NsPath::parse(ancestor).unwrap())
        };
        assert!(within("/foo/bar", "/"));
        assert!(within("/foo/bar", "/foo/bar"));
        assert!(within("/foo/bar/x", "/foo/bar"));
        assert!(!within("/foo/bargain", "/foo/bar"));
        assert!(!within("/foo", "/foo/bar"));
        assert!(within("/", "/"));
    }

    #[test]
    fn parent_name_and_components_agree() {
        let path = NsPath::parse("/a/b").unwrap();
        assert_eq!((path.parent().unwrap().as_str(), path.name()), ("/a", Some("b")));
        assert_eq!(NsPath::parse("/a").unwrap().parent().unwrap(), NsPath::root());
        assert_eq!((NsPath::root().parent(), NsPath::root().name()), (None, None));
        assert_eq!(NsPath::root().components().count(), 0);
    }

    #[test]
    fn a_path_knows_what_is_above_it_and_what_is_left_below() {
        let parse = |text: &str| NsPath::parse(text).unwrap();
        let path = parse("/a/b/c");
        assert_eq!(path.ancestors(), [NsPath::root(), parse("/a"), parse("/a/b")]);
        assert_eq!(NsPath::root().ancestors(), []);
        let firsts: Vec<_> = (0..5).map(|count| path.first(count)).collect();
        assert_eq!(firsts, [NsPath::root(), parse("/a"), parse("/a/b"), path.clone(), path.clone()]);
        assert_eq!(path.below(&parse("/a")), Some(parse("/b/c")));
        assert_eq!(path.below(&path), Some(NsPath::root()));
        assert_eq!(path.below(&parse("/a/bc")), None);
        assert_eq!(parse("/a/bc").below(&parse("/a/b")), None);
        for path in [NsPath::root(), path] {
            assert_eq!(NsPath::from_key(path.as_key()).unwrap(), path);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_into_a_url_reads_back(text in "(/[^/\\x00]{1,20}){0,6}") {
            if let Ok(path) = NsPath::parse(if text.is_empty() { "/" } else { &text }) {
                prop_assert_eq!(NsPath::from_url(&path.to_url()).unwrap(), path);
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic_or_leave_dots(text in "[/.%0-9a-f\\PC]{0,60}") {
            if let Ok(path) = NsPath::from_url(&text) {
                prop_assert!(path.components().all(|name| !name.is_empty() && name != "." && name != ".."));
            }
        }
    }
}
