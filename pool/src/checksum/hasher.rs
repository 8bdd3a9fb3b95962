//! Computing checksums of a stream that arrives in pieces.

use sha2::Digest;

use super::{Algorithm, Checksum};

/// One algorithm over one stream.
///
/// The larger states are boxed: a hasher is made once per transfer, and most are small.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Adler32(simd_adler32::Adler32),
    Crc32(crc32fast::Hasher),
    Crc32c(Box<crc_fast::Digest>),
    Md5(md5::Md5),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
    Sha512(Box<sha2::Sha512>),
}

impl Hasher {
    /// Starts over nothing.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Adler32 => State::Adler32(simd_adler32::Adler32::new()),
            Algorithm::Crc32 => State::Crc32(crc32fast::Hasher::new()),
            Algorithm::Crc32c => State::Crc32c(Box::new(new_crc32c())),
            Algorithm::Md5 => State::Md5(md5::Md5::new()),
            Algorithm::Sha1 => State::Sha1(sha1::Sha1::new()),
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Box::default()),
        })
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            State::Adler32(_) => Algorithm::Adler32,
            State::Crc32(_) => Algorithm::Crc32,
            State::Crc32c(_) => Algorithm::Crc32c,
            State::Md5(_) => Algorithm::Md5,
            State::Sha1(_) => Algorithm::Sha1,
            State::Sha256(_) => Algorithm::Sha256,
            State::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, data: &[u8]) {
        match &mut self.0 {
            State::Adler32(hasher) => hasher.write(data),
            State::Crc32(hasher) => hasher.update(data),
            State::Crc32c(hasher) => hasher.update(data),
            State::Md5(hasher) => hasher.update(data),
            State::Sha1(hasher) => hasher.update(data),
            State::Sha256(hasher) => hasher.update(data),
            State::Sha512(hasher) => Digest::update(hasher.as_mut(), data),
        }
    }

    /// The checksum of all bytes.
    pub fn finish(self) -> Checksum {
        let algorithm = self.algorithm();
        match self.0 {
            State::Adler32(hasher) => Checksum::adler32(hasher.finish()),
            State::Crc32(hasher) => Checksum::crc32(hasher.finalize()),
            State::Crc32c(hasher) => Checksum::crc32c(crc32c_value(&hasher)),
            State::Md5(hasher) => Checksum::padded(algorithm, &hasher.finalize()),
            State::Sha1(hasher) => Checksum::padded(algorithm, &hasher.finalize()),
            State::Sha256(hasher) => Checksum::padded(algorithm, &hasher.finalize()),
            State::Sha512(hasher) => Checksum::padded(algorithm, &hasher.finalize()),
        }
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hasher({})", self.algorithm())
    }
}

/// A CRC-32C computation over nothing.
pub(super) fn new_crc32c() -> crc_fast::Digest {
    crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi)
}

/// The value so far; crc-fast keeps every CRC in 64 bits.
pub(super) fn crc32c_value(digest: &crc_fast::Digest) -> u32 {
    digest.finalize() as u32
}

/// Several algorithms over one stream.
#[derive(Debug, Clone, Default)]
pub struct MultiHasher {
    hashers: Vec<Hasher>,
}

/// With several algorithms the data goes by in strides that stay in the first-level cache, so that it is read from
/// memory once and not once per algorithm.
const STRIDE_BYTES: usize = 16 << 10;

impl MultiHasher {
    /// Starts over nothing. An algorithm given twice is computed once.
    pub fn new(algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        let set: super::AlgorithmSet = algorithms.into_iter().collect();
        Self { hashers: set.iter().map(Hasher::new).collect() }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, data: &[u8]) {
        match self.hashers.as_mut_slice() {
            [] => {}
            [only] => only.update(data),
            several => {
                for stride in data.chunks(STRIDE_BYTES) {
                    for hasher in &mut *several {
                        hasher.update(stride);
                    }
                }
            }
        }
    }

    /// The checksums of all bytes, in listing order.
    pub fn finish(self) -> Vec<Checksum> {
        self.hashers.into_iter().map(Hasher::finish).collect()
    }

    /// Computes nothing.
    pub fn is_empty(&self) -> bool {
        self.hashers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Published vectors: RFC 1950, the zlib and CRC catalogues' check values, RFC 1321 §A.5, FIPS 180-4 examples.
    #[test]
    fn published_vectors_hold() {
        let cases = [
            ("Wiki", "adler32:03da0195"),
            ("Wikipedia", "adler32:11e60398"),
            ("", "adler32:00000001"),
            ("123456789", "crc32:cbf43926"),
            ("", "crc32:00000000"),
            ("dog", "crc32c:0a72a4df"),
            ("123456789", "crc32c:e3069283"),
            ("", "md5:d41d8cd98f00b204e9800998ecf8427e"),
            ("abc", "md5:900150983cd24fb0d6963f7d28e17f72"),
            ("abc", "sha1:a9993e364706816aba3e25717850c26c9cd0d89d"),
            ("", "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "abc",
                "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                 2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            ),
        ];
        for (data, expected) in cases {
            let expected: Checksum = expected.parse().unwrap();
            let mut hasher = Hasher::new(expected.algorithm());
            hasher.update(data.as_bytes());
            assert_eq!(hasher.finish(), expected, "of {data:?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_and_strides_do_not_matter(
            data in prop::collection::vec(any::<u8>(), 0..3 * STRIDE_BYTES),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut whole: Vec<Checksum> = Algorithm::ALL.map(|algorithm| {
                let mut hasher = Hasher::new(algorithm);
                hasher.update(&data);
                hasher.finish()
            }).into();
            whole.sort();

            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(data.len() + 1)).collect();
            cuts.extend([0, data.len()]);
            cuts.sort();
            let mut multi = MultiHasher::new(Algorithm::ALL.into_iter().chain(Algorithm::ALL));
            for pair in cuts.windows(2) {
                multi.update(&data[pair[0]..pair[1]]);
            }
            prop_assert_eq!(multi.finish(), whole);
        }

        #[test]
        fn adler32_agrees_with_the_plain_implementation(data in prop::collection::vec(any::<u8>(), 0..20_000)) {
            let mut hasher = Hasher::new(Algorithm::Adler32);
            hasher.update(&data);
            prop_assert_eq!(hasher.finish(), Checksum::adler32(adler32::adler32(&data[..]).unwrap()));
        }
    }

    #[test]
    fn nothing_wanted_is_nothing_computed() {
        let mut multi = MultiHasher::new([]);
        assert!(multi.is_empty());
        multi.update(b"anything");
        assert_eq!(multi.finish(), []);
    }
}
