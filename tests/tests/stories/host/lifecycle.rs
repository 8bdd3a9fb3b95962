//! What the service manager hears: ready, how it is, alive, reloading, stopping; and the silence of what is stuck.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use penstock_tests::lone_pool::LonePool;
use penstock_tests::manager::Manager;
use penstock_tests::pair::Pair;
use penstock_tests::patience::eventually;
use penstock_tests::room::Room;
use rustix::process::Signal;

/// Short, so that stories are.
const WATCHDOG: Duration = Duration::from_secs(4);

/// A pool's configuration that nobody uses, its data port, and the room that both are in.
fn pool_config(more: &str) -> (LonePool, Room) {
    let room = Room::new();
    let mut pool = LonePool::start_at(&room.join("pool"), room.path(), more);
    pool.stop();
    (pool, room)
}

fn argument(text: &'static str) -> &'static Path {
    Path::new(text)
}

#[test]
fn a_pool_is_ready_when_its_ports_answer_and_says_that_it_lives_until_it_stops() {
    let (pool, room) = pool_config("timeouts.drain = \"7 s\"\n");
    let manager = Manager::new(room.path());

    let mut daemon = manager.start("penstock-pool", &[argument("--config"), &pool.config], WATCHDOG);

    let _ = manager.waits_for("READY=1");
    for address in [pool.data, pool.admin] {
        TcpStream::connect(address).expect("a pool that is ready answers");
    }
    assert_eq!(manager.heard()[0], "STATUS=starting");
    let status = manager.waits_for("STATUS=0 transfers run, 0 wait");
    assert!(status.ends_with("; healthy"), "{status}");
    eventually("it lives", || (manager.count("WATCHDOG=1") >= 3).then_some(()));
    assert_eq!(manager.count("STOPPING=1"), 0);

    daemon.terminate();

    assert!(daemon.ended().success());
    let heard = manager.heard();
    let stopping = heard.iter().position(|word| word == "STOPPING=1").expect("it says that it stops");
    // The drain time of the file and half a minute for the end, whatever the unit says.
    assert_eq!(heard[stopping + 1], "EXTEND_TIMEOUT_USEC=37000000");
    assert_eq!(manager.count("READY=1"), 1);
}

#[test]
fn each_daemon_says_when_it_has_read_its_configuration_again() {
    let room = Room::new();
    let (pool, _pool_room) = pool_config("");
    let mut pair = Pair::start_in(&room.join("pair"), &room.join("pair/pool"), "");
    pair.pool.stop();
    pair.door.terminate();
    assert!(pair.door.ended().success());
    let site = room.join("site.toml");
    let lines = "listen = \"127.0.0.1:0\"\npool_listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n";
    std::fs::write(&site, format!("data = \"{}\"\n{lines}", room.join("data").display())).unwrap();
    let daemons: [(&str, PathBuf); 3] = [
        ("penstock-pool", pool.config.clone()),
        ("penstock-door", pair.directory().join("door.toml")),
        ("penstock", site),
    ];
    for (program, config) in daemons {
        let directory = room.join(&format!("m-{program}"));
        std::fs::create_dir(&directory).unwrap();
        let manager = Manager::new(&directory);
        let mut daemon = manager.start(program, &[argument("--config"), &config], WATCHDOG);
        let _ = manager.waits_for("READY=1");
        let _ = manager.waits_for("WATCHDOG=1");
        manager.forget();

        daemon.signal(Signal::HUP);

        let _ = manager.waits_for("READY=1");
        let heard = manager.heard();
        let begun = heard.iter().position(|word| word == "RELOADING=1").expect("it says that it reloads");
        assert!(heard[begun + 1].starts_with("MONOTONIC_USEC="), "{program}: {heard:?}");
        let ready = heard.iter().position(|word| word == "READY=1").unwrap();
        assert!(begun < ready, "{program}: {heard:?}");
        eventually("it lives on", || (manager.count("WATCHDOG=1") >= 2).then_some(()));
        daemon.terminate();
        assert!(daemon.ended().success(), "{program}: {}", daemon.stderr());
        let _ = manager.waits_for("STOPPING=1");
    }
}

/// Holds one thread of another process as a system call does that never comes back. Lets go when dropped.
struct Held(Child);

impl Held {
    fn thread(id: &str) -> Held {
        // PTRACE_ATTACH and its stop are of one thread; python is there for other stories, too.
        const HOLD: &str = "
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
thread = int(sys.argv[1])
if libc.ptrace(16, thread, None, None) != 0:
    sys.exit('ptrace: ' + os.strerror(ctypes.get_errno()))
os.waitpid(thread, 0x40000000)
print('held', flush=True)
sys.stdin.read()
libc.ptrace(17, thread, None, None)
print('let go', flush=True)
";
        let mut child = Command::new("python3")
            .args(["-c", HOLD, id])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let mut said = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said.trim(), "held", "the thread could not be held");
        Held(child)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// The id of a process's thread by its name.
fn thread_of(process: u32, name: &str) -> String {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let mut found = threads.map(Result::unwrap).filter(|thread| {
        std::fs::read_to_string(thread.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
    });
    let thread = found.next().unwrap_or_else(|| panic!("there is no thread {name}"));
    thread.file_name().to_string_lossy().into_owned()
}

#[test]
fn a_pool_with_one_shard_that_does_not_turn_is_no_longer_alive_and_says_why() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root may hold a thread of a process that is not its child");
        return;
    }
    let (pool, room) = pool_config("shards = 2\n");
    let manager = Manager::new(room.path());
    let watchdog = Duration::from_secs(8);
    let mut daemon = manager.start("penstock-pool", &[argument("--config"), &pool.config], watchdog);
    let _ = manager.waits_for("WATCHDOG=1");

    let held = Held::thread(&thread_of(daemon.id(), "penstock-shard1"));

    let status = manager.waits_for("STATUS=stuck: ");
    assert_eq!(status, "STATUS=stuck: shard 1 has not turned for 4 s");
    eventually("the log says so", || daemon.stderr().contains("shard 1 has not turned").then_some(()));
    manager.forget();
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(manager.count("WATCHDOG=1"), 0, "the other shard and tokio turn, and that is not enough");

    drop(held);

    let _ = manager.waits_for("WATCHDOG=1");
    daemon.terminate();
    assert!(daemon.ended().success());
}
