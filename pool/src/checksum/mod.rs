//! Checksums of replicas: algorithms and their names, computing them beside the data, putting parts together.
//!
//! Pure code: nothing here reads a file or a socket. What is cheap (adler32 and the CRCs, at memory speed) is computed
//! in place by a [`MultiHasher`]; what is slow (md5, sha) goes to the threads of a [`DigestPool`].
#![forbid(unsafe_code)]

mod algorithm;
mod block;
mod combine;
mod digest_pool;
mod hasher;
mod mismatch;
mod value;

pub use algorithm::{Algorithm, AlgorithmSet};
pub use block::{BLOCK_SIZE_BYTES, BlockChecksums, block_checksum, block_count, check_block};
pub use combine::{adler32_combine, crc32_combine, crc32c_combine};
pub use digest_pool::{DigestPool, DigestStream, QUEUED_CHUNKS_PER_STREAM, Refused};
pub use hasher::{Hasher, MultiHasher};
pub use mismatch::{mismatch, mismatch_text};
pub use value::{Checksum, ChecksumError, Hex, MAX_VALUE_BYTES};
