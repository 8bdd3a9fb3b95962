//! Checksums as the door keeps and tells them: parsing of what a client wants, and the header and property forms.
//!
//! The door never computes one: a pool does, and tells it with the finished upload.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use penstock_door_proto::v1 as proto;

/// Longest `Want-Digest` or `Want-Repr-Digest` list that is looked at; what follows is ignored, as both are wishes.
const MAX_WANTED: usize = 32;

/// A checksum algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// Adler-32, the norm of the grid.
    Adler32,
    /// MD5.
    Md5,
    /// CRC-32 (ISO-HDLC).
    Crc32,
    /// CRC-32C (Castagnoli).
    Crc32c,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// Every algorithm of the contract.
    pub const ALL: [Algorithm; 7] = [
        Algorithm::Adler32,
        Algorithm::Md5,
        Algorithm::Crc32,
        Algorithm::Crc32c,
        Algorithm::Sha1,
        Algorithm::Sha256,
        Algorithm::Sha512,
    ];

    /// The name in `Digest` (RFC 3230 §4.1.1 and the IANA registry).
    pub fn digest_name(self) -> &'static str {
        match self {
            Algorithm::Adler32 => "adler32",
            Algorithm::Md5 => "md5",
            Algorithm::Crc32 => "crc32",
            Algorithm::Crc32c => "crc32c",
            Algorithm::Sha1 => "sha",
            Algorithm::Sha256 => "sha-256",
            Algorithm::Sha512 => "sha-512",
        }
    }

    /// The key in `Repr-Digest` (RFC 9530 §5 and the IANA registry).
    pub fn repr_digest_name(self) -> &'static str {
        match self {
            Algorithm::Adler32 => "adler",
            other => other.digest_name(),
        }
    }

    /// Length of the value in bytes.
    pub fn length(self) -> usize {
        match self {
            Algorithm::Adler32 | Algorithm::Crc32 | Algorithm::Crc32c => 4,
            Algorithm::Md5 => 16,
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
            Algorithm::Sha512 => 64,
        }
    }

    /// Reads a `Digest` name, in any case. `sha-1` is a common spelling of `sha`.
    pub fn from_digest_name(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("sha-1") {
            return Some(Algorithm::Sha1);
        }
        Self::ALL.into_iter().find(|algorithm| algorithm.digest_name().eq_ignore_ascii_case(name))
    }

    /// Reads a `Repr-Digest` key. Structured field keys are lower case (RFC 9651 §3.1.2).
    pub fn from_repr_digest_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.repr_digest_name() == name)
    }

    /// The contract's number of the algorithm.
    pub fn to_proto(self) -> proto::ChecksumAlgorithm {
        match self {
            Algorithm::Adler32 => proto::ChecksumAlgorithm::Adler32,
            Algorithm::Md5 => proto::ChecksumAlgorithm::Md5,
            Algorithm::Crc32 => proto::ChecksumAlgorithm::Crc32,
            Algorithm::Crc32c => proto::ChecksumAlgorithm::Crc32c,
            Algorithm::Sha1 => proto::ChecksumAlgorithm::Sha1,
            Algorithm::Sha256 => proto::ChecksumAlgorithm::Sha256,
            Algorithm::Sha512 => proto::ChecksumAlgorithm::Sha512,
        }
    }

    fn is_hex(self) -> bool {
        self.length() == 4
    }
}

/// A file's checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// What it was computed with.
    pub algorithm: Algorithm,
    /// The raw value, most significant byte first; as long as the algorithm says.
    value: Vec<u8>,
}

impl Checksum {
    /// A checksum of a raw value. `None` when the length is not the algorithm's.
    pub fn new(algorithm: Algorithm, value: Vec<u8>) -> Option<Self> {
        (value.len() == algorithm.length()).then_some(Self { algorithm, value })
    }

    /// Reads a pool's checksum. `None` for an algorithm that this door does not know, or a wrong length.
    pub fn from_proto(checksum: &proto::Checksum) -> Option<Self> {
        let algorithm = Algorithm::ALL.into_iter().find(|known| known.to_proto() == checksum.algorithm())?;
        Self::new(algorithm, checksum.value.clone())
    }

    /// The contract's form.
    pub fn to_proto(&self) -> proto::Checksum {
        proto::Checksum { algorithm: self.algorithm.to_proto().into(), value: self.value.clone() }
    }

    /// One element of a `Digest` header (RFC 3230 §4.3.2).
    pub fn to_digest(&self) -> String {
        let value = if self.algorithm.is_hex() { to_hex(&self.value) } else { STANDARD.encode(&self.value) };
        format!("{}={value}", self.algorithm.digest_name())
    }

    /// One element of a `Repr-Digest` header (RFC 9530 §3).
    pub fn to_repr_digest(&self) -> String {
        format!("{}=:{}:", self.algorithm.repr_digest_name(), STANDARD.encode(&self.value))
    }
}

/// The form in which the namespace keeps a file's checksums.
pub fn to_record(checksums: &[Checksum]) -> String {
    let parts: Vec<_> = checksums
        .iter()
        .map(|checksum| format!("{}={}", checksum.algorithm.digest_name(), to_hex(&checksum.value)))
        .collect();
    parts.join(",")
}

/// Reads what [`to_record`] wrote; elements of a later version are left out.
pub fn from_record(record: &str) -> Vec<Checksum> {
    record
        .split(',')
        .filter_map(|part| {
            let (name, value) = part.split_once('=')?;
            Checksum::new(Algorithm::from_digest_name(name)?, from_hex(value)?)
        })
        .collect()
}

/// All known checksums as one `Digest` value: separated by a comma without a space, since davix does not trim.
pub fn digest_list<'a>(checksums: impl IntoIterator<Item = &'a Checksum>) -> String {
    checksums.into_iter().map(Checksum::to_digest).collect::<Vec<_>>().join(",")
}

/// All given checksums as one `Repr-Digest` value.
pub fn repr_digest_list<'a>(checksums: impl IntoIterator<Item = &'a Checksum>) -> String {
    checksums.into_iter().map(Checksum::to_repr_digest).collect::<Vec<_>>().join(",")
}

/// Reads `Want-Digest` (RFC 3230 §4.3.1): the known algorithms, the most wanted first.
pub fn parse_want_digest(value: &str) -> Vec<Algorithm> {
    let wishes = value.split(',').take(MAX_WANTED).filter_map(|element| {
        let mut parts = element.split(';').map(str::trim);
        let algorithm = Algorithm::from_digest_name(parts.next()?)?;
        let weight = parts
            .find_map(|parameter| parameter.strip_prefix("q="))
            .map_or(Some(1.0), |text| text.trim().parse::<f32>().ok())?;
        Some((algorithm, weight))
    });
    by_preference(wishes)
}

/// Reads `Want-Repr-Digest` (RFC 9530 §4): weights from 0 (refused) to 10.
pub fn parse_want_repr_digest(value: &str) -> Vec<Algorithm> {
    let wishes = value.split(',').take(MAX_WANTED).filter_map(|element| {
        let (name, weight) = element.trim().split_once('=')?;
        let weight: u8 = weight.split(';').next()?.trim().parse().ok()?;
        Some((Algorithm::from_repr_digest_name(name)?, f32::from(weight)))
    });
    by_preference(wishes)
}

/// Reads `Digest` (RFC 3230 §4.3.2); algorithms that are not known are left out. `None` when a value is none.
pub fn parse_digest(value: &str) -> Option<Vec<Checksum>> {
    let mut stated = Vec::new();
    for element in elements(value) {
        let (name, value) = element.split_once('=')?;
        let Some(algorithm) = Algorithm::from_digest_name(name.trim()) else { continue };
        let value = value.trim();
        let raw = if algorithm.is_hex() {
            // Some write adler32 without its leading zeros; none at all states nothing.
            (!value.is_empty()).then(|| from_hex(&format!("{value:0>8}")))??
        } else {
            STANDARD.decode(value).ok()?
        };
        state(&mut stated, Checksum::new(algorithm, raw)?)?;
    }
    Some(stated)
}

/// Reads `Repr-Digest` (RFC 9530 §3), likewise.
pub fn parse_repr_digest(value: &str) -> Option<Vec<Checksum>> {
    let mut stated = Vec::new();
    for element in elements(value) {
        let (name, value) = element.split_once('=')?;
        let Some(algorithm) = Algorithm::from_repr_digest_name(name.trim()) else { continue };
        let coded = value.split(';').next()?.trim().strip_prefix(':')?.strip_suffix(':')?;
        state(&mut stated, Checksum::new(algorithm, STANDARD.decode(coded).ok()?)?)?;
    }
    Some(stated)
}

/// Adds a checksum that a client states. `None`: it contradicts another one.
pub fn state(stated: &mut Vec<Checksum>, checksum: Checksum) -> Option<()> {
    match stated.iter().find(|other| other.algorithm == checksum.algorithm) {
        None => stated.push(checksum),
        Some(same) if *same == checksum => {}
        Some(_) => return None,
    }
    Some(())
}

/// The elements of a list: a comma within quotation marks belongs to its element (RFC 9110 §5.6.4), as the pool reads it.
fn elements(value: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = value.split(move |character| {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' => return !quoted,
            _ => {}
        }
        false
    });
    parts.map(str::trim).filter(|element| !element.is_empty())
}

fn by_preference(wishes: impl Iterator<Item = (Algorithm, f32)>) -> Vec<Algorithm> {
    let mut wishes: Vec<_> = wishes.filter(|(_, weight)| *weight > 0.0).collect();
    wishes.sort_by(|left, right| right.1.total_cmp(&left.1));
    let mut known = Vec::new();
    for (algorithm, _) in wishes {
        if !known.contains(&algorithm) {
            known.push(algorithm);
        }
    }
    known
}

/// Lower-case hexadecimal.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads hexadecimal of either case; `None` unless it is whole bytes.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_digest_writes_short_sums_in_hex_and_long_ones_in_base64() {
        let adler = Checksum::new(Algorithm::Adler32, vec![0x03, 0xda, 0x01, 0x95]).unwrap();
        let md5 =
            Checksum::new(Algorithm::Md5, from_hex("ac56f4b8fac5739ccdb45777d313becf").unwrap()).unwrap();
        assert_eq!(digest_list([&adler, &md5]), "adler32=03da0195,md5=rFb0uPrFc5zNtFd30xO+zw==");
        assert_eq!(adler.to_repr_digest(), "adler=:A9oBlQ==:");
    }

    #[test]
    fn wishes_are_ordered_by_weight_and_unknown_ones_are_left_out() {
        use Algorithm::*;
        let cases: [(&str, &[Algorithm]); 6] = [
            ("adler32", &[Adler32]),
            ("MD5, ADLER32;q=0.5", &[Md5, Adler32]),
            ("md5;q=0.1,adler32;q=0.5,unixsum", &[Adler32, Md5]),
            ("md5;q=0, sha-256", &[Sha256]),
            ("md5;q=x", &[]),
            ("", &[]),
        ];
        for (value, wanted) in cases {
            assert_eq!(parse_want_digest(value), wanted, "{value}");
        }
        let cases: [(&str, &[Algorithm]); 4] = [
            ("sha-256=10, adler=3", &[Sha256, Adler32]),
            ("md5=0, adler=1", &[Adler32]),
            ("adler32=5", &[]),
            ("sha-256;q=1", &[]),
        ];
        for (value, wanted) in cases {
            assert_eq!(parse_want_repr_digest(value), wanted, "{value}");
        }
    }

    proptest! {
        #[test]
        fn a_record_reads_back_as_it_was_written(which in 0usize..7, bytes in proptest::collection::vec(any::<u8>(), 64)) {
            let algorithm = Algorithm::ALL[which];
            let checksum = Checksum::new(algorithm, bytes[..algorithm.length()].to_vec()).unwrap();
            prop_assert_eq!(from_record(&to_record(std::slice::from_ref(&checksum))), vec![checksum]);
        }

        #[test]
        fn no_header_text_makes_the_parsers_panic(text in ".{0,200}") {
            parse_want_digest(&text);
            parse_want_repr_digest(&text);
            from_record(&text);
        }
    }

    #[test]
    fn an_empty_value_states_no_checksum() {
        for value in ["adler32=", "adler32= ", "md5=", "crc32c=,md5=rFb0uPrFc5zNtFd30xO+zw=="] {
            assert_eq!(parse_digest(value), None, "{value}");
        }
        assert_eq!(
            parse_digest("adler32=1").map(|stated| to_record(&stated)).as_deref(),
            Some("adler32=00000001")
        );
    }

    #[test]
    fn each_algorithm_is_stated_once_and_contradictions_are_malformed() {
        let record = |value: &str| parse_digest(value).map(|stated| to_record(&stated));
        assert_eq!(record("adler32=1, ADLER32=00000001").as_deref(), Some("adler32=00000001"));
        assert_eq!(record("adler32=1,adler32=2"), None);
        assert_eq!(parse_repr_digest("adler=:AAAAAQ==:,adler=:AAAAAg==:"), None);
    }

    #[test]
    fn a_comma_within_quotation_marks_separates_nothing() {
        let record = |value: &str| parse_digest(value).map(|stated| to_record(&stated));
        assert_eq!(record("adler32=1,other=\"a,adler32=2\"").as_deref(), Some("adler32=00000001"));
        assert_eq!(record("other=\"\\\",adler32=2\",adler32=1").as_deref(), Some("adler32=00000001"));
    }
}
