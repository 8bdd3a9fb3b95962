//! Paths as they come in URLs.
//!
//! A path that was understood is normal: absolute, without `.`, `..`, empty components or NUL; it is told as a URL that
//! leads to the same path; and what is above, below and within agrees.

use penstock_door::namespace::NsPath;
use penstock_door::namespace::path::{MAX_COMPONENT_BYTES, MAX_PATH_BYTES};

/// Checks an input: one path or, with a line feed between them, two.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (one, other) = text.split_once('\n').unwrap_or((text, "/"));
    let parsed = [one, other].map(|text| [NsPath::from_url(text), NsPath::parse(text)]);
    let understood: Vec<NsPath> = parsed.into_iter().flatten().flatten().collect();
    for path in &understood {
        normal(path);
        for ancestor in &understood {
            within(path, ancestor);
        }
    }
}

fn normal(path: &NsPath) {
    let text = path.as_str();
    assert!(
        text.starts_with('/') && text.len() <= MAX_PATH_BYTES && !text.contains("//") && !text.contains('\0')
    );
    assert!(path.is_root() || !text.ends_with('/'));
    for component in path.components() {
        assert!(!["", ".", ".."].contains(&component) && component.len() <= MAX_COMPONENT_BYTES);
    }
    assert_eq!(NsPath::parse(text).as_ref(), Ok(path));
    let url = path.to_url();
    assert!(url.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/%".contains(&byte)), "{url}");
    assert_eq!(NsPath::from_url(&url).as_ref(), Ok(path));
    match (path.parent(), path.name()) {
        (Some(parent), Some(name)) => {
            assert_eq!(parent.child(name).as_ref(), Ok(path));
            assert!(path.is_within(&parent) && !parent.is_within(path));
            assert_eq!(path.ancestors().last(), Some(&parent));
        }
        (None, None) => assert!(path.is_root() && path.ancestors().is_empty()),
        other => panic!("{path}: {other:?}"),
    }
}

fn within(path: &NsPath, ancestor: &NsPath) {
    let below = path.below(ancestor);
    assert_eq!(below.is_some(), path.is_within(ancestor));
    let by_components = path.components().count() >= ancestor.components().count()
        && path.components().zip(ancestor.components()).all(|(one, other)| one == other);
    assert_eq!(below.is_some(), by_components, "{path} within {ancestor}");
    if let Some(below) = below {
        assert_eq!(ancestor.join(&below).as_ref(), Ok(path));
    }
}
