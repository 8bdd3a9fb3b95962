//! Files to move about, the same for the same seed, and their checksums by implementations other than the daemons'.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest, Md5};
use sha2::Sha256;

/// Bytes per KiB.
pub const KIB: u64 = 1 << 10;
/// Bytes per MiB.
pub const MIB: u64 = 1 << 20;

const PIECE_BYTES: usize = 64 << 10;

/// `size` bytes that look random, from a seed.
#[must_use]
pub fn bytes(size: u64, seed: u64) -> Vec<u8> {
    let mut data = Vec::with_capacity(usize::try_from(size).expect("a test's bytes fit in memory"));
    write(&mut data, size, seed);
    data
}

/// A file of `size` such bytes.
#[must_use]
pub fn file(directory: &Path, name: &str, size: u64, seed: u64) -> PathBuf {
    let path = directory.join(name);
    let mut file = BufWriter::new(File::create(&path).expect("the file can be made"));
    write(&mut file, size, seed);
    file.flush().expect("the disk takes it");
    path
}

fn write(output: &mut impl Write, size: u64, seed: u64) {
    // xorshift64*: quick, and no pattern that a checksum would overlook.
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    let mut remaining = size;
    while remaining > 0 {
        piece.clear();
        let length = remaining.min(PIECE_BYTES as u64);
        while (piece.len() as u64) < length {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            piece.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
        }
        piece.truncate(usize::try_from(length).expect("a piece is small"));
        output.write_all(&piece).expect("the output takes it");
        remaining -= length;
    }
}

/// Whether two files have the same bytes.
#[must_use]
pub fn same(left: &Path, right: &Path) -> bool {
    let open = |path: &Path| File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (mut left, mut right) = (open(left), open(right));
    let (mut left_piece, mut right_piece) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    loop {
        let (count, other) = (fill(&mut left, &mut left_piece), fill(&mut right, &mut right_piece));
        if left_piece[..count] != right_piece[..other] {
            return false;
        }
        if count == 0 {
            return true;
        }
    }
}

fn fill(file: &mut File, piece: &mut [u8]) -> usize {
    let mut filled = 0;
    while filled < piece.len() {
        match file.read(&mut piece[filled..]).expect("the file can be read") {
            0 => break,
            count => filled += count,
        }
    }
    filled
}

/// The replicas' files in a pool's directory (or anywhere below `directory`): those that have a name.
#[must_use]
pub fn replicas(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => directories.push(path),
                // <root>/data/ab/cd/<id>
                Ok(kind) if kind.is_file() && is_hex(path.parent()) => found.push(path),
                _ => {}
            }
        }
    }
    found
}

fn is_hex(directory: Option<&Path>) -> bool {
    let name = directory.and_then(Path::file_name).and_then(|name| name.to_str());
    name.is_some_and(|name| name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// adler32 as in a `Digest` header: 8 lower-case hex digits.
#[must_use]
pub fn adler32_hex(data: &[u8]) -> String {
    format!("{:08x}", adler32(data))
}

/// adler32 as in a `Repr-Digest` header: base64 of 4 bytes, most significant first.
#[must_use]
pub fn adler32_base64(data: &[u8]) -> String {
    BASE64.encode(adler32(data).to_be_bytes())
}

/// md5 in base64, as in `Content-MD5` and `Digest`.
#[must_use]
pub fn md5_base64(data: &[u8]) -> String {
    BASE64.encode(Md5::digest(data))
}

/// md5 in hex.
#[must_use]
pub fn md5_hex(data: &[u8]) -> String {
    Md5::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// sha-256 in base64.
#[must_use]
pub fn sha256_base64(data: &[u8]) -> String {
    BASE64.encode(Sha256::digest(data))
}

fn adler32(data: &[u8]) -> u32 {
    // The crate's reader stops at an error only; a slice gives none.
    adler32::adler32(data).expect("reading from memory cannot fail")
}
