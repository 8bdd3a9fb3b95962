//! A checksum: an algorithm and its value, and how it is written and read.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use penstock_door_proto::v1;

use super::Algorithm;

/// Length of the longest value (SHA-512).
pub const MAX_VALUE_BYTES: usize = 64;

/// Written with padding; read with and without, as clients differ.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A checksum of some bytes. Prints as `adler32:03da0195` and reads back from that.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checksum {
    algorithm: Algorithm,
    /// Most significant byte first; zero beyond the algorithm's length, so that derived equality holds.
    value: [u8; MAX_VALUE_BYTES],
}

/// Why something is not a checksum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChecksumError {
    /// A name that is none of ours.
    #[error(
        "unknown checksum algorithm '{name}'; known are adler32, md5, crc32, crc32c, sha1, sha256 and sha512"
    )]
    UnknownName {
        /// As it was given, shortened.
        name: String,
    },
    /// A number that the contract does not have, or 0.
    #[error("unknown checksum algorithm number {number}; see ChecksumAlgorithm in the contract")]
    UnknownNumber {
        /// As it was given.
        number: i32,
    },
    /// A value of another length.
    #[error("a value of {algorithm} has {} bytes, not {length}", .algorithm.value_bytes())]
    Length {
        /// Of which algorithm.
        algorithm: Algorithm,
        /// The bytes that were given.
        length: usize,
    },
    /// A value in neither of the notations it may have.
    #[error("the value of {algorithm} is not {expected}")]
    Notation {
        /// Of which algorithm.
        algorithm: Algorithm,
        /// What it should be.
        expected: &'static str,
    },
    /// Text without a colon.
    #[error("a checksum is written ALGORITHM:HEX, as in adler32:03da0195")]
    NoColon,
}

impl Checksum {
    /// From the raw bytes, most significant first.
    pub fn new(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, ChecksumError> {
        if bytes.len() != algorithm.value_bytes() {
            return Err(ChecksumError::Length { algorithm, length: bytes.len() });
        }
        Ok(Self::padded(algorithm, bytes))
    }

    pub(super) fn padded(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut value = [0; MAX_VALUE_BYTES];
        value[..bytes.len()].copy_from_slice(bytes);
        Self { algorithm, value }
    }

    /// An adler32.
    pub fn adler32(value: u32) -> Self {
        Self::padded(Algorithm::Adler32, &value.to_be_bytes())
    }

    /// A CRC-32.
    pub fn crc32(value: u32) -> Self {
        Self::padded(Algorithm::Crc32, &value.to_be_bytes())
    }

    /// A CRC-32C.
    pub fn crc32c(value: u32) -> Self {
        Self::padded(Algorithm::Crc32c, &value.to_be_bytes())
    }

    /// From hexadecimal digits of either case. 32-bit values may come without their leading zeros (1 to 8 digits).
    pub fn from_hex(algorithm: Algorithm, hex: &str) -> Result<Self, ChecksumError> {
        let wrong = |expected| ChecksumError::Notation { algorithm, expected };
        if hex.is_empty() || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong("hexadecimal digits"));
        }
        let length = algorithm.value_bytes();
        if length == 4 {
            // from_str_radix would take more digits if they are zeros.
            let number = (hex.len() <= 8).then(|| u32::from_str_radix(hex, 16).ok()).flatten();
            return number
                .map(|n| Self::padded(algorithm, &n.to_be_bytes()))
                .ok_or(wrong("1 to 8 hexadecimal digits"));
        }
        if hex.len() != 2 * length {
            return Err(ChecksumError::Length { algorithm, length: hex.len().div_ceil(2) });
        }
        let mut value = [0; MAX_VALUE_BYTES];
        for (byte, pair) in value.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            *byte = nibble(pair[0]) << 4 | nibble(pair[1]);
        }
        Ok(Self { algorithm, value })
    }

    /// From base64, padded or not.
    pub fn from_base64(algorithm: Algorithm, text: &str) -> Result<Self, ChecksumError> {
        // Nothing longer can be a value; this also bounds what is decoded.
        if text.len() > 2 * MAX_VALUE_BYTES {
            return Err(ChecksumError::Length { algorithm, length: text.len() / 4 * 3 });
        }
        let bytes = BASE64
            .decode(text)
            .map_err(|_| ChecksumError::Notation { algorithm, expected: "base64 (RFC 4648 §4)" })?;
        Self::new(algorithm, &bytes)
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The raw bytes, most significant first.
    pub fn value(&self) -> &[u8] {
        &self.value[..self.algorithm.value_bytes()]
    }

    /// The value in lower-case hexadecimal digits, without an allocation when printed.
    pub fn hex(&self) -> Hex<'_> {
        Hex(self.value())
    }

    /// The value in base64 with padding.
    pub fn base64(&self) -> String {
        BASE64.encode(self.value())
    }
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => 0, // Callers have checked is_ascii_hexdigit.
    }
}

/// Bytes that print as lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy)]
pub struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.hex())
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Checksum {
    type Err = ChecksumError;

    fn from_str(text: &str) -> Result<Self, ChecksumError> {
        let (name, hex) = text.split_once(':').ok_or(ChecksumError::NoColon)?;
        let algorithm = Algorithm::from_name(name)
            .ok_or_else(|| ChecksumError::UnknownName { name: name.chars().take(32).collect() })?;
        Self::from_hex(algorithm, hex)
    }
}

impl From<Checksum> for v1::Checksum {
    fn from(checksum: Checksum) -> Self {
        Self {
            algorithm: v1::ChecksumAlgorithm::from(checksum.algorithm).into(),
            value: checksum.value().to_vec(),
        }
    }
}

impl TryFrom<&v1::Checksum> for Checksum {
    type Error = ChecksumError;

    fn try_from(message: &v1::Checksum) -> Result<Self, ChecksumError> {
        Self::new(message.algorithm.try_into()?, &message.value)
    }
}

impl TryFrom<v1::Checksum> for Checksum {
    type Error = ChecksumError;

    fn try_from(message: v1::Checksum) -> Result<Self, ChecksumError> {
        Self::try_from(&message)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_checksum() -> impl Strategy<Value = Checksum> {
        (prop::sample::select(&Algorithm::ALL[..]), any::<[[u8; 32]; 2]>()).prop_map(|(algorithm, bytes)| {
            Checksum::new(algorithm, &bytes.concat()[..algorithm.value_bytes()]).unwrap()
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(checksum in any_checksum()) {
            let algorithm = checksum.algorithm();
            prop_assert_eq!(checksum.to_string().parse(), Ok(checksum));
            prop_assert_eq!(Checksum::from_base64(algorithm, &checksum.base64()), Ok(checksum));
            let unpadded = checksum.base64().trim_end_matches('=').to_owned();
            prop_assert_eq!(Checksum::from_base64(algorithm, &unpadded), Ok(checksum));
            let upper = checksum.hex().to_string().to_uppercase();
            prop_assert_eq!(Checksum::from_hex(algorithm, &upper), Ok(checksum));
            prop_assert_eq!(Checksum::try_from(v1::Checksum::from(checksum)), Ok(checksum));
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in ".{0,200}", algorithm in prop::sample::select(&Algorithm::ALL[..])) {
            let _ = text.parse::<Checksum>();
            let _ = Checksum::from_hex(algorithm, &text);
            let _ = Checksum::from_base64(algorithm, &text);
        }
    }

    #[test]
    fn short_hexadecimal_of_32_bits_gets_its_zeros_back() {
        assert_eq!(Checksum::from_hex(Algorithm::Adler32, "1"), Ok(Checksum::adler32(1)));
        assert_eq!(Checksum::adler32(1).to_string(), "adler32:00000001");
    }

    #[test]
    fn what_is_not_a_checksum_says_why() {
        let cases = [
            ("adler32", "a checksum is written ALGORITHM:HEX, as in adler32:03da0195"),
            ("adler32:", "the value of adler32 is not hexadecimal digits"),
            ("adler32:+1", "the value of adler32 is not hexadecimal digits"),
            ("adler32:000000001", "the value of adler32 is not 1 to 8 hexadecimal digits"),
            ("md5:ac56", "a value of md5 has 16 bytes, not 2"),
            (
                "md4:ac56",
                "unknown checksum algorithm 'md4'; known are adler32, md5, crc32, crc32c, sha1, sha256 and sha512",
            ),
        ];
        for (text, reason) in cases {
            assert_eq!(text.parse::<Checksum>().unwrap_err().to_string(), reason, "{text}");
        }
        let error = Checksum::from_base64(Algorithm::Md5, "rFb0uPrFc5zNtFd30xO+").unwrap_err();
        assert_eq!(error.to_string(), "a value of md5 has 16 bytes, not 15");
    }
}
