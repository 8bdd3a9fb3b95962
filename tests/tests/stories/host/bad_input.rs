//! What goes wrong on a disk server: rights, foreign directories, two daemons, certificates that end, disks that go away,
//! logs that cannot be written.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use penstock_tests::binaries::binary;
use penstock_tests::certificates::Authority;
use penstock_tests::curl::Curl;
use penstock_tests::daemon::Daemon;
use penstock_tests::files::{self, MIB};
use penstock_tests::lone_pool::LonePool;
use penstock_tests::pair::Pair;
use penstock_tests::patience::eventually;
use penstock_tests::ports;
use penstock_tests::room::Room;
use penstock_tests::site::Plan;
use penstock_tests::volume::{Kind, Volume};

/// A user of no rights.
const NOBODY: u32 = 65_534;

/// Starts a pool by hand, for stories in which it does not come up.
fn start(config: &Path) -> Daemon {
    Daemon::spawn("penstock-pool", Command::new(binary("penstock-pool")).arg("--config").arg(config))
}

/// The one line that a daemon ended with.
fn last_words(mut daemon: Daemon) -> String {
    let status = daemon.ended();
    assert_eq!(status.code(), Some(1), "{}", daemon.stderr());
    assert!(!daemon.stdout().contains("ready"), "{}", daemon.stdout());
    daemon.stderr().trim_end().lines().last().unwrap_or_default().to_owned()
}

/// A configuration file for a root.
fn config(directory: &Path, name: &str, root: &Path) -> std::path::PathBuf {
    let [data, admin] = ports::free();
    let path = directory.join(format!("{name}.toml"));
    let text = format!(
        "name = \"{name}\"\nroot = \"{}\"\n[data]\nlisten = \"{data}\"\n[admin]\nlisten = \"{admin}\"\n",
        root.display()
    );
    fs::write(&path, text).unwrap();
    path
}

/// What is in a directory, with names, sizes and times.
fn look(directory: &Path) -> Vec<String> {
    let output = Command::new("find").arg(directory).args(["-printf", "%P %s %T@ %m\n"]).output().unwrap();
    let mut lines: Vec<_> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn what_the_daemons_user_may_not_read_or_write_is_named() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can run a daemon as somebody else");
        return;
    }
    let room = Room::for_everyone();
    let program = room.join("penstock-pool");
    fs::copy(binary("penstock-pool"), &program).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let authority = Authority::new(room.path(), "site");
    let identity = authority.issue("pool");
    let root = room.join("root");
    fs::create_dir(&root).unwrap();
    let start_as_nobody = |config: &Path| {
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".to_owned()]);
        Daemon::spawn("penstock-pool", command.arg(&program).arg("--config").arg(config))
    };
    let private = |path: &Path| fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();

    let file = config(room.path(), "pool01", &root);
    private(&file);
    let said = last_words(start_as_nobody(&file));
    assert!(said.contains("pool01.toml: cannot be read: Permission denied"), "{said}");

    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let said = last_words(start_as_nobody(&file));
    assert!(said.contains(&root.display().to_string()) && said.contains("Permission denied"), "{said}");
    assert!(look(&root).len() == 1, "nothing was made in it");

    rustix::fs::chown(&root, Some(rustix::fs::Uid::from_raw(NOBODY)), None).unwrap();
    private(&identity.key);
    let [tls] = ports::free();
    let keys = format!(
        "[data]\ncert = \"{}\"\nkey = \"{}\"\ntls_listen = \"{tls}\"\n",
        identity.certificate.display(),
        identity.key.display()
    );
    let text = fs::read_to_string(&file).unwrap().replace("[data]\n", &keys);
    fs::write(&file, text).unwrap();
    let said = last_words(start_as_nobody(&file));
    assert!(said.contains("pool.key") && said.contains("Permission denied"), "{said}");
}

#[test]
fn a_root_of_another_pool_or_of_a_newer_release_is_refused_and_left_as_it_is() {
    let room = Room::new();
    let root = room.join("root");
    let mut pool = LonePool::start_at(&root, room.path(), "");
    pool.stop();
    let marker = root.join("penstock-pool.json");
    let ours = fs::read_to_string(&marker).unwrap();
    assert!(ours.contains("\"format\":"), "{ours}");

    let before = look(&root);
    let said = last_words(start(&config(room.path(), "pool02", &root)));
    assert!(said.contains("belongs to pool \"pool01\", this is pool \"pool02\""), "{said}");
    assert_eq!(changed_names(&before, &look(&root)), Vec::<String>::new());

    let (version, rest) = ours.split_once("\"format\":").unwrap().1.split_once(',').unwrap();
    let newer = format!("{{\"format\":{},{rest}", version.trim().parse::<u32>().unwrap() + 1);
    fs::write(&marker, &newer).unwrap();
    let before = look(&root);
    let said = last_words(start(&pool.config));
    assert!(said.contains("has layout version") && said.contains("install a newer release"), "{said}");
    assert_eq!(changed_names(&before, &look(&root)), Vec::<String>::new());
    assert_eq!(fs::read_to_string(&marker).unwrap(), newer);

    fs::write(&marker, &ours).unwrap();
    pool.start_again();
}

/// Names whose files are not as they were. The lock says who held it last.
fn changed_names(before: &[String], after: &[String]) -> Vec<String> {
    let name = |line: &String| line.split(' ').next().unwrap_or_default().to_owned();
    let changed = before
        .iter()
        .filter(|line| !after.contains(line))
        .chain(after.iter().filter(|line| !before.contains(line)));
    changed.map(name).filter(|name| name != "lock").collect()
}

#[test]
fn a_second_pool_on_one_root_is_told_who_has_it() {
    let room = Room::new();
    let root = room.join("root");
    let mut first = LonePool::start_at(&root, room.path(), "");

    let said = last_words(start(&config(room.path(), "pool01-again", &root)));

    let holder = format!("is in use by another pool daemon (process {})", first.daemon.id());
    assert!(said.contains(&holder), "{said}");
    assert!(first.daemon.runs());
    first.stop();
}

#[test]
fn a_certificate_that_has_ended_before_the_start_is_complained_of_and_the_pool_serves_its_plain_port() {
    let room = Room::new();
    let authority = Authority::new(room.path(), "site");
    let identity = authority.issue_until("pool", SystemTime::now() - Duration::from_secs(3600));

    let (pool, tls) = LonePool::start_secured(&identity, "");

    eventually("the log says so", || {
        pool.daemon.stderr().contains("has ended: clients refuse it").then_some(())
    });
    let status = pool.client().status();
    assert!(status.problems.iter().any(|it| it.contains("pool.pem has ended")), "{:?}", status.problems);
    assert_eq!(
        Curl::new(format!("http://{}/", pool.data)).run().status,
        400,
        "a data port without a transfer"
    );
    let believing =
        Curl::new(format!("https://localhost:{}/", tls.port())).arg("--cacert").arg(authority.certificate());
    let refused = believing.run();
    assert_eq!(refused.status, 0, "a client that looks refuses it");
    assert!(refused.complaint.contains("expired"), "{}", refused.complaint);
}

#[test]
fn a_certificate_that_ends_while_the_pool_runs_shows_in_its_health_and_a_new_one_mends_it() {
    let room = Room::new();
    let authority = Authority::new(room.path(), "site");
    let identity = authority.issue_until("pool", SystemTime::now() + Duration::from_secs(4));
    let (pool, _) = LonePool::start_secured(&identity, "");
    let problems = || pool.client().status().problems.join("\n");
    assert!(problems().contains("ends in 0 h"), "{}", problems());

    eventually("it has ended", || problems().contains("has ended").then_some(()));

    let _ = authority.issue("pool");
    pool.daemon.signal(rustix::process::Signal::HUP);
    eventually("all is well", || problems().is_empty().then_some(()));
}

#[test]
fn a_disk_that_is_gone_fails_what_needs_it_and_nothing_else() {
    for kind in [Kind::Ext4, Kind::Xfs] {
        let Some(volume) = Volume::new_or_skip(kind) else { continue };
        let mut pair = Pair::start_with_root(&volume.path().join("pool"), "");
        let file = files::file(pair.directory(), "in", 3 * MIB, 1);
        let _ = pair.put("/file", &file).expect(201);

        volume.vanish();

        let answer = pair.get("/file");
        assert!(answer.body != fs::read(&file).unwrap(), "the disk is gone");
        assert!(answer.status >= 500 || !answer.complaint.is_empty(), "{} {}", answer.status, answer.text());
        eventually("the pool takes no more uploads", || {
            let refused = pair.put("/other", &file);
            assert!((400..600).contains(&refused.status), "{} {}", refused.status, refused.text());
            (!pair.pool.client().status().problems.is_empty()).then_some(())
        });
        let health = Curl::new(format!("http://{}/healthz", pair.pool.admin)).run();
        assert_eq!(health.status, 503, "{}", health.text());
        assert!(pair.pool.daemon.runs() && pair.door.runs());
        pair.pool.daemon.terminate();
        assert!(pair.pool.daemon.ended_within(Duration::from_secs(60)).is_some(), "it ends all the same");
    }
}

/// `penstock serve` with its standard error led elsewhere by the shell.
fn with_log_to(redirection: &str) -> Vec<String> {
    ["sh", "-c", &format!("exec \"$@\" {redirection}"), "sh"].map(str::to_owned).to_vec()
}

#[test]
fn a_log_that_cannot_be_written_or_is_not_read_stops_nothing() {
    let room = Room::new();
    let pipe = room.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Open for reading, so that it can be written to, and never read.
    let unread = fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    for redirection in ["2>/dev/full".to_owned(), "2>&-".to_owned(), format!("2>{}", pipe.display())] {
        let mut site = Plan::new().through(with_log_to(&redirection)).config("log = \"trace\"\n").start();
        // Many more lines than a pipe holds.
        for number in 0..40 {
            let file = files::file(site.room(), "in", 20_000 + number, number);
            let path = format!("/file{number}");
            let _ = site.put(&path, &file).expect(201);
            assert!(site.get(&path).expect(200).body == fs::read(&file).unwrap(), "{redirection}");
        }
        site.stop();
    }
    drop(unread);
}

#[test]
fn a_standard_output_that_is_full_is_no_reason_not_to_serve() {
    let room = Room::new();
    let pool_config = config(room.path(), "pool01", &room.join("root"));
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" >/dev/full", "sh"]).arg(binary("penstock-pool"));

    let mut daemon = Daemon::spawn("penstock-pool", command.arg("--config").arg(&pool_config));

    eventually("it says so", || daemon.stderr().contains("the ready line cannot be written").then_some(()));
    assert!(daemon.runs());
    daemon.terminate();
    assert!(daemon.ended().success());
}
