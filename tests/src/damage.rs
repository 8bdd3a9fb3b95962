//! What happens to a stored file behind the pool's back.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::Advice;

/// Inverts the lowest bit of a byte, and drops the file from the page cache: who reads it next, reads the disk.
pub fn flip_bit(file: &Path, offset: u64) {
    let handle = OpenOptions::new()
        .read(true)
        .write(true)
        .open(file)
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut byte = [0];
    handle.read_exact_at(&mut byte, offset).expect("the file is that long");
    byte[0] ^= 1;
    handle.write_all_at(&byte, offset).expect("the file can be written");
    drop(handle);
    drop_from_cache(file);
}

/// Drops a file from the page cache.
pub fn drop_from_cache(file: &Path) {
    let handle = File::open(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    // Pages that are not written yet cannot be dropped.
    handle.sync_all().expect("the disk takes it");
    rustix::fs::fadvise(&handle, 0, None, Advice::DontNeed).expect("the kernel takes advice");
}
