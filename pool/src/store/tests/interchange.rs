//! Other storage systems find the checksums where they look for them. The reader here follows XRootD's published
//! layout (XrdCksData.hh), not our writer.

use std::os::unix::fs::MetadataExt;

use super::upload::on_kernel;
use super::*;

/// What XRootD would read: name, time of the file's change, value.
fn xrootd_reads(record: &[u8]) -> (String, i64, Vec<u8>) {
    assert_eq!(record.len(), 96);
    let name = record[..16].split(|byte| *byte == 0).next().unwrap();
    let modified = i64::from_be_bytes(record[16..24].try_into().unwrap());
    let length = usize::from(record[31]);
    (String::from_utf8(name.to_vec()).unwrap(), modified, record[32..32 + length].to_vec())
}

fn attribute(path: &Path, name: &str) -> Vec<u8> {
    let mut value = vec![0; 256];
    let length = rustix::fs::getxattr(path, name, &mut value[..]).unwrap();
    value.truncate(length);
    value
}

#[test]
fn xrootd_and_storm_find_the_adler32_of_small_and_large_uploads() {
    let Some((_dir, store)) = on_kernel(|_| ()) else { return };
    // "Wikipedia" has a published adler32.
    let data = b"Wikipedia";
    store.admit(spec("small", Some(9))).unwrap().store_small(data, commit_of(data)).unwrap();
    let upload = store.begin_upload(spec("large", None)).unwrap();
    upload.commit_small(data, commit_of(data)).unwrap();

    for name in ["small", "large"] {
        let path = store.inner.layout.replica(&id(name));
        let (algorithm, modified, value) = xrootd_reads(&attribute(&path, "user.XrdCks.adler32"));
        assert_eq!(algorithm, "adler32");
        assert_eq!(value, [0x11, 0xe6, 0x03, 0x98]);
        // Otherwise XRootD takes it for stale and reads the file again.
        assert_eq!(modified, path.metadata().unwrap().mtime());
        assert_eq!(attribute(&path, "user.storm.checksum.adler32"), b"11e60398");
    }
}
