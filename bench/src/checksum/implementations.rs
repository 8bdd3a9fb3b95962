//! The checksums that are measured: every algorithm, as the pool computes it and as others would.

use std::hint::black_box;

use penstock_pool::checksum::{Algorithm, BlockChecksums, Hasher, MultiHasher};

/// An algorithm as some crate computes it.
pub struct Implementation {
    /// The algorithm, or what is computed together.
    pub algorithm: &'static str,
    /// The crate.
    pub name: &'static str,
    /// Whether the pool uses it.
    pub ours: bool,
    /// Computes it over all of the bytes.
    pub compute: fn(&[u8]),
}

/// All of them.
pub const IMPLEMENTATIONS: [Implementation; 12] = [
    Implementation {
        algorithm: "adler32",
        name: "simd-adler32",
        ours: true,
        compute: |d| hash(Algorithm::Adler32, d),
    },
    Implementation { algorithm: "adler32", name: "adler32", ours: false, compute: adler32_crate },
    Implementation {
        algorithm: "crc32",
        name: "crc32fast",
        ours: true,
        compute: |d| hash(Algorithm::Crc32, d),
    },
    Implementation { algorithm: "crc32", name: "crc-fast", ours: false, compute: crc32_of_crc_fast },
    Implementation {
        algorithm: "crc32c",
        name: "crc-fast",
        ours: true,
        compute: |d| hash(Algorithm::Crc32c, d),
    },
    Implementation { algorithm: "blocks", name: "crc-fast", ours: true, compute: blocks },
    Implementation { algorithm: "adler32+blocks", name: "as in a PUT", ours: true, compute: as_in_a_put },
    Implementation { algorithm: "adler32+crc32c", name: "in strides", ours: true, compute: in_strides },
    Implementation { algorithm: "md5", name: "md-5", ours: true, compute: |d| hash(Algorithm::Md5, d) },
    Implementation { algorithm: "sha1", name: "sha1", ours: true, compute: |d| hash(Algorithm::Sha1, d) },
    Implementation { algorithm: "sha256", name: "sha2", ours: true, compute: |d| hash(Algorithm::Sha256, d) },
    Implementation { algorithm: "sha512", name: "sha2", ours: true, compute: |d| hash(Algorithm::Sha512, d) },
];

fn hash(algorithm: Algorithm, data: &[u8]) {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(black_box(data));
    black_box(hasher.finish());
}

fn adler32_crate(data: &[u8]) {
    let mut adler32 = adler32::RollingAdler32::new();
    adler32.update_buffer(black_box(data));
    black_box(adler32.hash());
}

fn crc32_of_crc_fast(data: &[u8]) {
    black_box(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, black_box(data)));
}

/// CRC-32C of every MiB, by which ranges are verified.
fn blocks(data: &[u8]) {
    let mut blocks = BlockChecksums::new();
    blocks.update(black_box(data));
    black_box(blocks.finish());
}

/// One slot after the other, each by adler32 and then by the block's CRC.
fn as_in_a_put(data: &[u8]) {
    let (mut adler32, mut blocks) = (Hasher::new(Algorithm::Adler32), BlockChecksums::new());
    for slot in black_box(data).chunks(1 << 20) {
        adler32.update(slot);
        blocks.update(slot);
    }
    black_box((adler32.finish(), blocks.finish()));
}

/// Two at once, in pieces that stay in the first-level cache.
fn in_strides(data: &[u8]) {
    let mut both = MultiHasher::new([Algorithm::Adler32, Algorithm::Crc32c]);
    both.update(black_box(data));
    black_box(both.finish());
}
