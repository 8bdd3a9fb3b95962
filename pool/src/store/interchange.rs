//! Checksums in the attributes where other storage systems look for them, so that a site can move its files to and from
//! Penstock without reading them again.
//!
//! They are copies for others: what Penstock believes stands in [`super::attributes`] alone.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::io::Errno;

use crate::engine::disk::{Disk, File};

/// Where XRootD and Pelican keep an adler32: 96 bytes, see [`xrootd_value`].
pub const XROOTD_ADLER32: &str = "user.XrdCks.adler32";
/// Where StoRM keeps it: eight hexadecimal digits.
pub const STORM_ADLER32: &str = "user.storm.checksum.adler32";

/// Length of the name field of XRootD's record.
const XROOTD_NAME_BYTES: usize = 16;
/// Length of its value field.
const XROOTD_VALUE_BYTES: usize = 64;
/// Length of the record.
const XROOTD_BYTES: usize = 96;

/// Writes the adler32 of a file whose data will not change any more. Where the file system has no room for more
/// attributes they are left out: nothing depends on them.
pub fn write_adler32(disk: &dyn Disk, file: &File, adler32: u32) -> io::Result<()> {
    // XRootD takes its record for stale unless the file's time of change is the recorded one.
    let modified_at = disk.metadata(file)?.modified_at;
    let record = xrootd_value("adler32", &adler32.to_be_bytes(), modified_at, SystemTime::now());
    for (name, value) in [(XROOTD_ADLER32, &record[..]), (STORM_ADLER32, format!("{adler32:08x}").as_bytes())]
    {
        match disk.set_attribute(file, name, value) {
            Err(error) if no_room(&error) => return Ok(()),
            result => result?,
        }
    }
    Ok(())
}

/// XRootD's record of a checksum (`XrdCksData`): name, NUL-padded to 16 bytes; time of the file's change, 64 bits; the
/// checksum's age against it, 32 bits; two unused fields; length, 8 bits; value in 64 bytes. Numbers are big-endian.
fn xrootd_value(
    name: &str,
    value: &[u8],
    modified_at: SystemTime,
    computed_at: SystemTime,
) -> [u8; XROOTD_BYTES] {
    let seconds = |time: SystemTime| match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX),
    };
    let (modified, computed) = (seconds(modified_at), seconds(computed_at));
    let age = i32::try_from(computed.saturating_sub(modified)).unwrap_or(i32::MAX);
    let mut record = [0; XROOTD_BYTES];
    let name = &name.as_bytes()[..name.len().min(XROOTD_NAME_BYTES - 1)];
    let value = &value[..value.len().min(XROOTD_VALUE_BYTES)];
    record[..name.len()].copy_from_slice(name);
    record[16..24].copy_from_slice(&modified.to_be_bytes());
    record[24..28].copy_from_slice(&age.to_be_bytes());
    record[31] = value.len() as u8;
    record[32..32 + value.len()].copy_from_slice(value);
    record
}

/// The file system cannot keep more attributes of this file.
fn no_room(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOSPC | Errno::TOOBIG | Errno::DQUOT | Errno::RANGE))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn xrootds_record_has_its_published_layout() {
        // adler32("Wiki"), of a file last changed at 0x0102030405 s, computed 7 s later.
        let modified_at = UNIX_EPOCH + Duration::from_secs(0x01_0203_0405);
        let record = xrootd_value(
            "adler32",
            &[0x03, 0xda, 0x01, 0x95],
            modified_at,
            modified_at + Duration::from_secs(7),
        );

        let mut expected = Vec::new();
        expected.extend_from_slice(b"adler32\0\0\0\0\0\0\0\0\0");
        expected.extend_from_slice(&[0, 0, 0, 1, 2, 3, 4, 5]);
        expected.extend_from_slice(&[0, 0, 0, 7]);
        expected.extend_from_slice(&[0, 0, 0, 4]);
        expected.extend_from_slice(&[0x03, 0xda, 0x01, 0x95]);
        expected.resize(96, 0);
        assert_eq!(record[..], expected[..]);
    }
}
