//! The secret in a redirect URL: whoever has it may make the one request that the door allowed.

use std::fmt;

/// Bytes of randomness in a capability: 128 bits, so that guessing is hopeless.
const CAPABILITY_BYTES: usize = 16;

/// 128 random bits, written as 32 lower-case hex digits. Never logged: `Debug` shows nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Capability([u8; CAPABILITY_BYTES]);

impl Capability {
    /// A new one from the kernel's random source.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; CAPABILITY_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The one that a URL carries: exactly 32 hex digits. `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 2 * CAPABILITY_BYTES {
            return None;
        }
        let mut bytes = [0; CAPABILITY_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
        }
        Some(Self(bytes))
    }

    /// As it stands in the URL.
    #[must_use]
    pub fn expose(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Capability(…)")
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_shows_is_read_back_as_the_same_capability() {
        let capability = Capability::random().unwrap();
        assert_eq!(Capability::parse(&capability.expose()), Some(capability));
    }

    #[test]
    fn anything_but_32_hex_digits_is_no_capability() {
        for text in
            ["", "00", "0123456789abcdef0123456789abcde", "0123456789abcdef0123456789abcdeg", &"é".repeat(16)]
        {
            assert_eq!(Capability::parse(text), None, "{text}");
        }
    }

    #[test]
    fn two_capabilities_differ() {
        assert_ne!(Capability::random().unwrap(), Capability::random().unwrap());
    }

    #[test]
    fn debug_output_does_not_show_the_secret() {
        let capability = Capability::random().unwrap();
        assert_eq!(format!("{capability:?}"), "Capability(…)");
    }
}
