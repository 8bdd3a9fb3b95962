//! A request that is refused because of what it is, not because of what it asks for.

use std::borrow::Cow;

/// What to answer, and why. The connection is closed after the answer: where the next request would start is unknown
/// or not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct BadRequest {
    /// 400, 411, 414, 415, 417, 431, 501 or 505.
    pub status: u16,
    /// One line that names what was refused and why. Never holds a header's value or the query.
    pub text: Cow<'static, str>,
}

impl BadRequest {
    pub(super) fn new(status: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self { status, text: text.into() }
    }

    pub(super) fn malformed(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, text)
    }
}

/// A client's bytes (a method, a header's name) made fit for an error text: printable and short.
pub(super) fn shown(bytes: &[u8]) -> String {
    const SHOWN_BYTES: usize = 40;
    let mut text = bytes[..bytes.len().min(SHOWN_BYTES)].escape_ascii().to_string();
    if bytes.len() > SHOWN_BYTES {
        text.push('…');
    }
    text
}
