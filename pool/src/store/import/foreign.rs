//! Checksums that other systems have left in a file's attributes (their layouts: [`super::super::interchange`]).

use std::collections::BTreeMap;
use std::io;
use std::time::UNIX_EPOCH;

use super::super::interchange::STORM_ADLER32;
use crate::checksum::{Algorithm, Checksum};
use crate::engine::disk::{Disk, File, Metadata};

/// What XRootD's attributes begin with; the algorithm's name follows.
const XROOTD_PREFIX: &str = "user.XrdCks.";
/// Length of XRootD's record.
const XROOTD_BYTES: usize = 96;

/// Checksums of a file that are worth to be believed: lower-case hex by the algorithm's name. Those that are stale, or
/// contradict each other, are left out.
pub(super) fn checksums(
    disk: &dyn Disk,
    file: &File,
    metadata: &Metadata,
) -> io::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for algorithm in Algorithm::ALL {
        let attribute = disk.attribute(file, &format!("{XROOTD_PREFIX}{algorithm}"))?;
        if let Some(checksum) = attribute.and_then(|record| xrootd(algorithm, &record, metadata)) {
            found.insert(algorithm.name().to_owned(), checksum.hex().to_string());
        }
    }
    let storm = disk.attribute(file, STORM_ADLER32)?.and_then(|value| storm(&value));
    if let Some(storm) = storm {
        let (name, value) = (Algorithm::Adler32.name().to_owned(), storm.hex().to_string());
        if found.get(&name).is_some_and(|xrootd| *xrootd != value) {
            found.remove(&name);
        } else {
            found.insert(name, value);
        }
    }
    Ok(found)
}

/// XRootD's record, unless it is of another algorithm or of bytes that have changed since.
fn xrootd(algorithm: Algorithm, record: &[u8], metadata: &Metadata) -> Option<Checksum> {
    if record.len() != XROOTD_BYTES {
        return None;
    }
    let name = record.get(..16)?.split(|byte| *byte == 0).next()?;
    if name != algorithm.name().as_bytes() {
        return None;
    }
    let seconds = i64::from_be_bytes(record.get(16..24)?.try_into().ok()?);
    let modified = metadata.modified_at.duration_since(UNIX_EPOCH).ok()?.as_secs();
    if u64::try_from(seconds) != Ok(modified) {
        return None;
    }
    let length = usize::from(*record.get(31)?);
    Checksum::new(algorithm, record.get(32..32 + length)?).ok()
}

/// StoRM's: hexadecimal digits, of which leading zeros may be missing. It does not say of when it is.
fn storm(value: &[u8]) -> Option<Checksum> {
    let text = std::str::from_utf8(value).ok()?.trim_end_matches(['\0', '\n']);
    if !(1..=8).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some(Checksum::adler32(u32::from_str_radix(text, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::engine::disk::Kind;

    fn metadata(seconds: u64) -> Metadata {
        let modified_at = UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 700);
        let changed_at = SystemTime::now();
        Metadata { kind: Kind::File, size: 4, allocated: 4096, modified_at, changed_at, inode: 1 }
    }

    /// adler32("Wiki") of a file last changed at 1 700 000 000.
    fn record() -> Vec<u8> {
        let mut record = b"adler32\0\0\0\0\0\0\0\0\0".to_vec();
        record.extend_from_slice(&1_700_000_000_i64.to_be_bytes());
        record.extend_from_slice(&[0, 0, 0, 7, 0, 0, 0, 4, 0x03, 0xda, 0x01, 0x95]);
        record.resize(96, 0);
        record
    }

    #[test]
    fn xrootds_record_is_read_where_it_is_of_these_bytes() {
        let found = xrootd(Algorithm::Adler32, &record(), &metadata(1_700_000_000)).unwrap();
        assert_eq!(found.hex().to_string(), "03da0195");
    }

    #[test]
    fn xrootds_record_is_not_believed_otherwise() {
        let at = metadata(1_700_000_000);
        let spoilt = |place: usize, byte: u8| {
            let mut record = record();
            record[place] = byte;
            record
        };
        assert_eq!(xrootd(Algorithm::Adler32, &record(), &metadata(1_700_000_001)), None, "stale");
        assert_eq!(xrootd(Algorithm::Crc32, &record(), &at), None, "of another algorithm");
        assert_eq!(xrootd(Algorithm::Adler32, &record()[..95], &at), None, "too short");
        for length in [0, 3, 5, 64, 65, 255] {
            assert_eq!(xrootd(Algorithm::Adler32, &spoilt(31, length), &at), None, "length {length}");
        }
    }

    #[test]
    fn storms_digits_are_read_with_and_without_leading_zeros() {
        for text in ["03da0195", "3da0195", "03DA0195", "3da0195\n"] {
            assert_eq!(storm(text.as_bytes()), Some(Checksum::adler32(0x03da_0195)), "{text}");
        }
        for text in ["", "103da0195", "+3da0195", "03da 195", "é"] {
            assert_eq!(storm(text.as_bytes()), None, "{text}");
        }
    }
}
