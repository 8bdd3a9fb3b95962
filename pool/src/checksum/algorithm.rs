//! The algorithms, and what each protocol calls them.

use std::fmt;

use penstock_door_proto::v1::ChecksumAlgorithm;

use super::ChecksumError;

/// A checksum algorithm. The order is that in which checksums are listed to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Algorithm {
    /// RFC 1950 §9; the WLCG norm.
    Adler32,
    /// RFC 1321.
    Md5,
    /// CRC-32/ISO-HDLC, as in zip and Ethernet.
    Crc32,
    /// CRC-32/ISCSI (Castagnoli), RFC 3720 §12.1.
    Crc32c,
    /// FIPS 180-4.
    Sha1,
    /// FIPS 180-4.
    Sha256,
    /// FIPS 180-4.
    Sha512,
}

impl Algorithm {
    /// Every algorithm, in listing order.
    pub const ALL: [Self; 7] =
        [Self::Adler32, Self::Md5, Self::Crc32, Self::Crc32c, Self::Sha1, Self::Sha256, Self::Sha512];

    /// Our own name: in configuration, logs, metrics and the contract's texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Adler32 => "adler32",
            Self::Md5 => "md5",
            Self::Crc32 => "crc32",
            Self::Crc32c => "crc32c",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// The algorithm of a name, ours or that of a `Digest` header, in either case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|a| a.name().eq_ignore_ascii_case(name) || a.digest_name().eq_ignore_ascii_case(name))
            // Not registered, but what people write.
            .or_else(|| name.eq_ignore_ascii_case("sha-1").then_some(Self::Sha1))
    }

    /// The name in `Digest` and `Want-Digest` (RFC 3230 §4.1.1 and the IANA registry of digest algorithms).
    pub fn digest_name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha",
            Self::Sha256 => "sha-256",
            Self::Sha512 => "sha-512",
            other => other.name(),
        }
    }

    /// The key in `Repr-Digest` and `Want-Repr-Digest` (RFC 9530 §7.2). Plain CRC-32 has none.
    pub fn repr_digest_name(self) -> Option<&'static str> {
        match self {
            Self::Adler32 => Some("adler"),
            Self::Crc32 => None,
            other => Some(other.digest_name()),
        }
    }

    /// The algorithm of a `Repr-Digest` key. Keys are lower case (RFC 8941 §3.1.2).
    pub fn from_repr_digest_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.repr_digest_name() == Some(name))
    }

    /// dCache's number of the algorithm, which its error texts carry. dCache has no CRCs.
    pub fn dcache_type(self) -> Option<u8> {
        match self {
            Self::Adler32 => Some(1),
            Self::Md5 => Some(2),
            Self::Crc32 | Self::Crc32c => None,
            Self::Sha1 => Some(4),
            Self::Sha256 => Some(5),
            Self::Sha512 => Some(6),
        }
    }

    /// Length of a value.
    pub fn value_bytes(self) -> usize {
        match self {
            Self::Adler32 | Self::Crc32 | Self::Crc32c => 4,
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// Cheap enough to compute where the data passes: tens of GB/s, and parts can be combined. The others go to a
    /// [`super::DigestPool`].
    pub fn inline(self) -> bool {
        match self {
            Self::Adler32 | Self::Crc32 | Self::Crc32c => true,
            Self::Md5 | Self::Sha1 | Self::Sha256 | Self::Sha512 => false,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Algorithm> for ChecksumAlgorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Adler32 => Self::Adler32,
            Algorithm::Md5 => Self::Md5,
            Algorithm::Crc32 => Self::Crc32,
            Algorithm::Crc32c => Self::Crc32c,
            Algorithm::Sha1 => Self::Sha1,
            Algorithm::Sha256 => Self::Sha256,
            Algorithm::Sha512 => Self::Sha512,
        }
    }
}

impl TryFrom<ChecksumAlgorithm> for Algorithm {
    type Error = ChecksumError;

    fn try_from(algorithm: ChecksumAlgorithm) -> Result<Self, ChecksumError> {
        match algorithm {
            ChecksumAlgorithm::Unspecified => Err(ChecksumError::UnknownNumber { number: 0 }),
            ChecksumAlgorithm::Adler32 => Ok(Self::Adler32),
            ChecksumAlgorithm::Md5 => Ok(Self::Md5),
            ChecksumAlgorithm::Crc32 => Ok(Self::Crc32),
            ChecksumAlgorithm::Crc32c => Ok(Self::Crc32c),
            ChecksumAlgorithm::Sha1 => Ok(Self::Sha1),
            ChecksumAlgorithm::Sha256 => Ok(Self::Sha256),
            ChecksumAlgorithm::Sha512 => Ok(Self::Sha512),
        }
    }
}

/// The number in a message of the contract.
impl TryFrom<i32> for Algorithm {
    type Error = ChecksumError;

    fn try_from(number: i32) -> Result<Self, ChecksumError> {
        ChecksumAlgorithm::try_from(number).map_err(|_| ChecksumError::UnknownNumber { number })?.try_into()
    }
}

/// A set of algorithms: each at most once, in listing order.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct AlgorithmSet(u8);

impl AlgorithmSet {
    /// No algorithm.
    pub const EMPTY: Self = Self(0);

    /// Puts one in; `false` if it was there.
    pub fn insert(&mut self, algorithm: Algorithm) -> bool {
        let bit = 1 << algorithm as u8;
        let new = self.0 & bit == 0;
        self.0 |= bit;
        new
    }

    /// Is it in?
    pub fn contains(self, algorithm: Algorithm) -> bool {
        self.0 & (1 << algorithm as u8) != 0
    }

    /// Is there none?
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Those of either.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are computed where the data passes.
    #[must_use]
    pub fn inline(self) -> Self {
        self.iter().filter(|a| a.inline()).collect()
    }

    /// Those for the digest pool.
    #[must_use]
    pub fn slow(self) -> Self {
        self.iter().filter(|a| !a.inline()).collect()
    }

    /// Each of them, in listing order.
    pub fn iter(self) -> impl Iterator<Item = Algorithm> {
        Algorithm::ALL.into_iter().filter(move |a| self.contains(*a))
    }
}

impl FromIterator<Algorithm> for AlgorithmSet {
    fn from_iter<I: IntoIterator<Item = Algorithm>>(algorithms: I) -> Self {
        let mut set = Self::EMPTY;
        for algorithm in algorithms {
            set.insert(algorithm);
        }
        set
    }
}

impl fmt::Debug for AlgorithmSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_algorithm() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_name(algorithm.name()), Some(algorithm));
            assert_eq!(Algorithm::from_name(&algorithm.digest_name().to_uppercase()), Some(algorithm));
            if let Some(name) = algorithm.repr_digest_name() {
                assert_eq!(Algorithm::from_repr_digest_name(name), Some(algorithm));
            }
        }
        assert_eq!(Algorithm::from_name("SHA-1"), Some(Algorithm::Sha1));
        assert_eq!(Algorithm::from_name("unixsum"), None);
        assert_eq!(Algorithm::from_repr_digest_name("adler32"), None);
        assert_eq!(Algorithm::from_repr_digest_name("SHA-256"), None);
    }

    #[test]
    fn the_contract_names_every_algorithm_and_nothing_else() {
        for algorithm in Algorithm::ALL {
            let number = ChecksumAlgorithm::from(algorithm) as i32;
            assert_eq!(Algorithm::try_from(number), Ok(algorithm));
        }
        for number in [0, -1, 8, i32::MAX] {
            assert_eq!(Algorithm::try_from(number), Err(ChecksumError::UnknownNumber { number }));
        }
    }

    #[test]
    fn a_set_holds_each_once_and_lists_them_in_order() {
        let set: AlgorithmSet = [Algorithm::Sha256, Algorithm::Crc32c, Algorithm::Adler32, Algorithm::Crc32c]
            .into_iter()
            .collect();
        assert_eq!(set.len(), 3);
        assert_eq!(
            set.iter().collect::<Vec<_>>(),
            [Algorithm::Adler32, Algorithm::Crc32c, Algorithm::Sha256]
        );
        assert_eq!(set.slow().iter().collect::<Vec<_>>(), [Algorithm::Sha256]);
        assert_eq!(set.inline().union(set.slow()), set);
        assert!(AlgorithmSet::EMPTY.is_empty() && !set.is_empty());
    }
}
