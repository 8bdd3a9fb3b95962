//! The first bytes of a connection to `net serve`: what it is for.

use std::time::Duration;

use super::case::Method;

/// Length of a greeting.
pub const GREETING_BYTES: usize = 16;
const MAGIC: [u8; 8] = *b"PNSTKNET";
const VERSION: u8 = 2;
/// No stream is longer.
const LONGEST: Duration = Duration::from_secs(3600);

/// What the server is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Receive until the end, then tell the number of bytes (8 bytes, little-endian).
    YouReceive,
    /// Send for the given time.
    YouSend(Method),
    /// Tell the facts, as JSON.
    Facts,
}

/// A greeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Greeting {
    /// What for.
    pub kind: Kind,
    /// How long.
    pub length: Duration,
}

impl Greeting {
    /// As it is sent.
    pub fn to_bytes(self) -> [u8; GREETING_BYTES] {
        let kind = match self.kind {
            Kind::YouReceive => 0,
            Kind::YouSend(Method::Copy) => 1,
            Kind::YouSend(Method::Sendfile) => 2,
            Kind::Facts => 3,
            Kind::YouSend(Method::ZeroCopy) => 4,
        };
        let milliseconds = u32::try_from(self.length.as_millis()).unwrap_or(u32::MAX).to_le_bytes();
        let mut bytes = [0; GREETING_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8] = VERSION;
        bytes[9] = kind;
        bytes[12..].copy_from_slice(&milliseconds);
        bytes
    }

    /// As it came; `None` if it is no greeting.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; GREETING_BYTES] = bytes.try_into().ok()?;
        if bytes[..8] != MAGIC || bytes[8] != VERSION {
            return None;
        }
        let kind = match bytes[9] {
            0 => Kind::YouReceive,
            1 => Kind::YouSend(Method::Copy),
            2 => Kind::YouSend(Method::Sendfile),
            3 => Kind::Facts,
            4 => Kind::YouSend(Method::ZeroCopy),
            _ => return None,
        };
        let milliseconds = u32::from_le_bytes(bytes[12..].try_into().ok()?);
        let length = Duration::from_millis(milliseconds.into());
        (length <= LONGEST).then_some(Self { kind, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        let sending = [Method::Copy, Method::ZeroCopy, Method::Sendfile].map(Kind::YouSend);
        for kind in sending.into_iter().chain([Kind::YouReceive, Kind::Facts]) {
            let greeting = Greeting { kind, length: Duration::from_millis(1234) };
            assert_eq!(Greeting::from_bytes(&greeting.to_bytes()), Some(greeting));
        }
    }

    #[test]
    fn strangers_are_not() {
        let good = Greeting { kind: Kind::Facts, length: Duration::ZERO }.to_bytes();
        for (place, value) in [(0, b'X'), (8, 9), (9, 5), (15, 255)] {
            let mut bytes = good;
            bytes[place] = value;
            assert_eq!(Greeting::from_bytes(&bytes), None, "byte {place}");
        }
        assert_eq!(Greeting::from_bytes(b"GET / HTTP/1.1\r\n"), None);
        assert_eq!(Greeting::from_bytes(&good[1..]), None);
    }
}
