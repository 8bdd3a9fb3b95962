use std::fs as std_fs;

use tempfile::TempDir;

use super::*;

/// A directory on a real file system, beside the test's own binary: the usual place for temporary files is often in
/// memory.
fn directory() -> TempDir {
    TempDir::new_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap()
}

fn names(dir: &TempDir) -> Vec<OsString> {
    KernelDisk.list_dir(dir.path()).unwrap()
}

/// Every way to have a file without a name: the kernel's, and ours where the kernel has none.
const UNNAMED: [fn(&Path) -> io::Result<File>; 2] = [|dir| KernelDisk.create_unnamed(dir), create_temporary];

#[test]
fn a_file_that_is_given_a_name_has_its_bytes_under_that_name_only() {
    for create in UNNAMED {
        let dir = directory();
        let file = create(dir.path()).unwrap();
        KernelDisk.write_all_at(&file, b"bytes", 0).unwrap();
        KernelDisk.link(&file, &dir.path().join("name")).unwrap();
        drop(file);
        assert_eq!(names(&dir), ["name"]);
        assert_eq!(std_fs::read(dir.path().join("name")).unwrap(), b"bytes");
    }
}

#[test]
fn a_file_that_is_given_no_name_leaves_nothing() {
    for create in UNNAMED {
        let dir = directory();
        let file = create(dir.path()).unwrap();
        KernelDisk.write_all_at(&file, b"bytes", 0).unwrap();
        drop(file);
        assert!(names(&dir).is_empty());
    }
}

#[test]
fn a_name_that_is_taken_is_refused_and_what_has_it_stays() {
    for create in UNNAMED {
        let dir = directory();
        let name = dir.path().join("name");
        std_fs::write(&name, b"first").unwrap();
        let file = create(dir.path()).unwrap();
        let error = KernelDisk.link(&file, &name).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        drop(file);
        assert_eq!(names(&dir), ["name"]);
        assert_eq!(std_fs::read(&name).unwrap(), b"first");
    }
}

#[test]
fn space_that_is_not_there_is_refused_at_once_and_the_file_stays_as_it_was() {
    let dir = directory();
    let file = KernelDisk.create_unnamed(dir.path()).unwrap();
    KernelDisk.allocate(&file, 0, 8192).unwrap();
    let before = KernelDisk.metadata(&file).unwrap();
    let error = KernelDisk.allocate(&file, 8192, 1 << 61).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    assert_eq!(KernelDisk.metadata(&file).unwrap(), before);
}

#[test]
fn an_allocation_that_the_kernel_refuses_leaves_the_file_as_long_as_it_was() {
    let dir = directory();
    let file = KernelDisk.create_unnamed(dir.path()).unwrap();
    KernelDisk.allocate(&file, 0, 8192).unwrap();
    // So far behind the end that no file system takes it, but little enough to pass the question for free space.
    let error = KernelDisk.allocate(&file, i64::MAX as u64 - 8192, 4096).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EFBIG));
    let after = KernelDisk.metadata(&file).unwrap();
    assert_eq!((after.size, after.allocated), (8192, 8192));
}

#[test]
fn an_allocated_file_is_as_long_as_its_space_and_reads_as_zeros() {
    let dir = directory();
    let file = KernelDisk.create_unnamed(dir.path()).unwrap();
    KernelDisk.allocate(&file, 0, 1 << 20).unwrap();
    let metadata = KernelDisk.metadata(&file).unwrap();
    assert_eq!((metadata.size, metadata.allocated), (1 << 20, 1 << 20));
    let mut buffer = [1; 100];
    assert_eq!(KernelDisk.read_at(&file, &mut buffer, (1 << 20) - 40).unwrap(), 40);
    assert_eq!(buffer[..40], [0; 40]);
}

#[test]
fn direct_is_what_the_kernel_says_it_is() {
    let dir = directory();
    let file = KernelDisk.create_unnamed(dir.path()).unwrap();
    let taken = KernelDisk.set_direct(&file, true).unwrap();
    let flags = fs::fcntl_getfl(fd_of(&file).unwrap()).unwrap();
    assert_eq!(flags.contains(OFlags::DIRECT), taken);
    assert!(!KernelDisk.set_direct(&file, false).unwrap());
    assert!(!fs::fcntl_getfl(fd_of(&file).unwrap()).unwrap().contains(OFlags::DIRECT));
}

#[test]
fn an_attribute_is_read_back_and_one_that_was_never_set_is_none() {
    let dir = directory();
    let file = KernelDisk.create_unnamed(dir.path()).unwrap();
    match KernelDisk.set_attribute(&file, "user.test", b"value") {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            return println!("skipped: no extended attributes in {}", dir.path().display());
        }
        other => other.unwrap(),
    }
    assert_eq!(KernelDisk.attribute(&file, "user.test").unwrap().unwrap(), b"value");
    KernelDisk.set_attribute(&file, "user.test", b"").unwrap();
    assert_eq!(KernelDisk.attribute(&file, "user.test").unwrap().unwrap(), b"");
    assert_eq!(KernelDisk.attribute(&file, "user.other").unwrap(), None);
}

#[test]
fn a_lock_is_held_by_one_and_free_when_that_one_lets_go() {
    let dir = directory();
    let path = dir.path().join("lock");
    let held = KernelDisk.lock(&path).unwrap();
    assert_eq!(KernelDisk.lock(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(held);
    KernelDisk.lock(&path).unwrap();
}

#[test]
fn an_open_file_can_be_opened_again_when_its_name_is_gone() {
    let dir = directory();
    let path = dir.path().join("name");
    std_fs::write(&path, b"bytes").unwrap();
    let file = KernelDisk.open(&path, ReadMode::Buffered).unwrap();
    KernelDisk.remove(&path).unwrap();
    let again = KernelDisk.reopen(&file, ReadMode::Buffered).unwrap();
    let mut buffer = [0; 16];
    assert_eq!(KernelDisk.read_at(&again, &mut buffer, 0).unwrap(), 5);
    assert_eq!(&buffer[..5], b"bytes");
    assert_ne!(again.raw(), file.raw());
}

#[test]
fn a_link_is_not_followed() {
    let dir = directory();
    std_fs::write(dir.path().join("target"), b"bytes").unwrap();
    std::os::unix::fs::symlink("target", dir.path().join("link")).unwrap();
    let link = dir.path().join("link");
    assert_eq!(KernelDisk.open(&link, ReadMode::Buffered).unwrap_err().raw_os_error(), Some(libc::ELOOP));
    assert_eq!(KernelDisk.stat(&link).unwrap().kind, Kind::Other);
}

#[test]
fn of_a_file_that_was_just_written_all_bytes_are_cached_and_no_more() {
    let dir = directory();
    let file = KernelDisk.create_unnamed(dir.path()).unwrap();
    KernelDisk.write_all_at(&file, &[1; 10_000], 0).unwrap();
    match KernelDisk.cached(&file, 0, 10_000).unwrap() {
        Some(cached) => assert_eq!(cached.cached, 10_000),
        None => println!("skipped: this kernel has no cachestat"),
    }
}

#[test]
fn a_file_of_another_disk_is_refused() {
    #[derive(Debug)]
    struct Foreign;
    impl FileHandle for Foreign {
        fn raw(&self) -> i32 {
            0
        }
    }
    let file: File = Arc::new(Foreign);
    assert_eq!(KernelDisk.sync_all(&file).unwrap_err().kind(), io::ErrorKind::InvalidInput);
}
