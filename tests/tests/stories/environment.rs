//! Machines that do not give everything: other users, little memory to lock, no io_uring.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use penstock_tests::binaries::binary;
use penstock_tests::files::{self, MIB};
use penstock_tests::patience::{PATIENCE, within};
use penstock_tests::room::Room;
use penstock_tests::site::{Plan, Site};

/// Runs a command as another user of no rights. Each story takes a user of its own: the kernel counts locked memory by
/// user.
fn as_user(number: u32) -> Vec<String> {
    if !is_root() {
        return Vec::new();
    }
    [
        "setpriv".to_owned(),
        format!("--reuid={number}"),
        format!("--regid={number}"),
        "--clear-groups".to_owned(),
    ]
    .into()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A directory where nobody can run a copy of the daemon: the build's may lie where others cannot look.
fn public_place() -> (Room, PathBuf) {
    let room = Room::for_everyone();
    let program = room.join("penstock");
    std::fs::copy(binary("penstock"), &program).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    (room, program)
}

fn moves_files(site: &Site) {
    for size in [0, 1, 2 * MIB + 1] {
        let file = files::file(site.room(), "in", size, size);
        let path = format!("/file{size}");
        let _ = site.put(&path, &file).expect(201);
        assert!(site.get(&path).expect(200).body == std::fs::read(&file).unwrap());
    }
}

#[test]
fn an_unprivileged_user_is_enough() {
    let (room, program) = public_place();
    let site = Plan::new().through(as_user(65_534)).program(program).room(room).start();

    moves_files(&site);
}

#[test]
fn with_too_little_memory_to_lock_the_pool_works_and_says_so() {
    if !is_root() {
        println!("skipped: other daemons of this user count towards its limit; run as root");
        return;
    }
    let (room, program) = public_place();
    // Enough for the rings, too little for their buffers.
    let mut wrapper = vec!["prlimit".to_owned(), "--memlock=2097152:2097152".to_owned()];
    wrapper.extend(as_user(54_321));
    let site = Plan::new().through(wrapper).program(program).room(room).start();

    moves_files(&site);

    let log = site.daemon.stderr();
    assert!(log.contains("memlock"), "{log}");
}

#[test]
fn with_no_memory_to_lock_the_pool_works_or_says_what_to_change() {
    let (room, program) = public_place();
    let mut wrapper = vec!["prlimit".to_owned(), "--memlock=0:0".to_owned()];
    wrapper.extend(as_user(54_322));
    let (_room, mut daemon) = Plan::new().through(wrapper).program(program).room(room).spawn();

    // Whether the rings themselves count as locked memory differs by kernel.
    let ended = within(PATIENCE, || {
        if daemon.stdout().contains("penstock ready: ") { Some(None) } else { daemon.has_ended().map(Some) }
    });

    match ended {
        Some(None) => assert!(daemon.stderr().contains("memlock"), "{}", daemon.stderr()),
        Some(Some(status)) => {
            assert!(!status.success());
            assert!(daemon.stderr().contains("LimitMEMLOCK"), "{}", daemon.stderr());
        }
        None => panic!("neither ready nor ended: {}", daemon.stderr()),
    }
}

#[test]
fn where_io_uring_is_forbidden_the_daemon_says_what_to_change() {
    // A seccomp filter that lets io_uring_setup (425 everywhere) fail with EPERM, as containers do; then the program.
    const FORBID: &str = "
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
load, equal, answer = 0x20, 0x15, 0x06
filter = b''.join(struct.pack('HBBI', *line) for line in [
    (load, 0, 0, 0), (equal, 0, 1, 425), (answer, 0, 0, 0x00050001), (answer, 0, 0, 0x7fff0000)])
code = ctypes.create_string_buffer(filter)
program = struct.pack('HxxxxxxP', 4, ctypes.addressof(code))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.c_char_p(program), 0, 0) == 0
os.execvp(sys.argv[1], sys.argv[1:])
";
    let (room, mut daemon) = Plan::new().through(["python3", "-c", FORBID].map(str::to_owned)).spawn();

    assert!(!daemon.ended().success());

    let said = daemon.stderr();
    assert!(said.contains("io_uring is forbidden here") && said.contains("seccomp"), "{said}");
    assert!(!daemon.stdout().contains("ready"));
    drop(room);
}

#[test]
fn where_direct_writes_are_refused_the_pool_goes_through_the_page_cache() {
    // A seccomp filter that answers EINVAL to O_DIRECT in openat (257; 56 on ARM) and in fcntl F_SETFL (72; 25), as file
    // systems do that have none (some network file systems, tmpfs before Linux 6.6); then the program.
    const WITHOUT: &str = "
import ctypes, errno, os, platform, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
openat, fcntl = (257, 72) if platform.machine() == 'x86_64' else (56, 25)
load, equal, has, answer = 0x20, 0x15, 0x45, 0x06
filter = b''.join(struct.pack('HBBI', *line) for line in [
    (load, 0, 0, 0), (equal, 3, 0, openat), (equal, 0, 5, fcntl),
    (load, 0, 0, 24), (equal, 0, 3, 4),
    (load, 0, 0, 32), (has, 0, 1, os.O_DIRECT),
    (answer, 0, 0, 0x00050000 | errno.EINVAL), (answer, 0, 0, 0x7fff0000)])
code = ctypes.create_string_buffer(filter)
program = struct.pack('HxxxxxxP', 9, ctypes.addressof(code))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.c_char_p(program), 0, 0) == 0
try:
    os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
    sys.exit('the filter lets O_DIRECT pass')
except OSError as error:
    assert error.errno == errno.EINVAL, error
os.execvp(sys.argv[1], sys.argv[1:])
";
    let site = Plan::new().through(["python3", "-c", WITHOUT].map(str::to_owned)).start();

    moves_files(&site);

    let large = files::file(site.room(), "large", 9 * MIB + 5, 3);
    let _ = site.put("/large", &large).expect(201);
    for replica in files::replicas(site.data()) {
        penstock_tests::damage::drop_from_cache(&replica);
    }
    assert!(site.get("/large").expect(200).body == std::fs::read(&large).unwrap(), "from the disk, too");
}
