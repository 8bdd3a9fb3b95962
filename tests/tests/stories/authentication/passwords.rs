//! Users with passwords, in a file of `htpasswd`, as curl sends them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use penstock_tests::curl::Curl;
use penstock_tests::files::{self, MIB};
use penstock_tests::patience::eventually;
use penstock_tests::room::Room;
use penstock_tests::secure_site::{Plan, SecureSite};

/// Adds a user, or changes the password.
fn htpasswd(file: &Path, user: &str, password: &str, words: &[&str]) {
    let output = Command::new("htpasswd")
        .args(words)
        .arg("-b")
        .arg(file)
        .args([user, password])
        .output()
        .expect("htpasswd is installed (Debian: apache2-utils)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o640)).unwrap();
}

fn start() -> (SecureSite, PathBuf) {
    let room = Room::new();
    let (passwords, policy) = (room.join("passwords"), room.join("policy.toml"));
    htpasswd(&passwords, "paul", "hunter2", &["-c", "-B"]);
    htpasswd(&passwords, "mary", "correct horse: battery", &["-B", "-C", "6"]);
    std::fs::write(
        &policy,
        "[[rules]]\nuser = \"*\"\nprefix = \"/users\"\nrights = [\"modify\", \"read\"]\n",
    )
    .unwrap();
    let tables = format!(
        "[authentication]\npasswords = \"{}\"\npolicy = \"{}\"\n",
        passwords.display(),
        policy.display()
    );
    (Plan::new().plain().tables(&tables).start_in(room), passwords)
}

fn as_user(site: &SecureSite, user: &str, path: &str) -> Curl {
    site.stranger(path).arg("--user").arg(user)
}

#[test]
fn users_store_and_fetch_with_their_passwords() {
    let (site, _) = start();
    let file = files::file(site.room(), "in", 2 * MIB, 1);
    let _ = as_user(&site, "paul:hunter2", "/users/file").follow().upload(&file).run().expect(201);
    let fetched = as_user(&site, "mary:correct horse: battery", "/users/file").follow().run().expect(200);
    assert_eq!(fetched.body, std::fs::read(&file).unwrap());
    assert_eq!(as_user(&site, "paul:hunter2", "/elsewhere").run().status, 403);
}

#[test]
fn wrong_names_and_wrong_passwords_get_the_same_answer() {
    let (site, _) = start();
    let challenge = site.stranger("/users/file").run().expect(401);
    let shown: Vec<_> = challenge.heads.iter().filter_map(|head| head.header("WWW-Authenticate")).collect();
    assert!(!shown.is_empty());
    let texts: Vec<String> = ["paul:wrong", "nobody:hunter2", "paul:", "paul:hunter2 "]
        .into_iter()
        .map(|user| as_user(&site, user, "/users/file").run().expect(401).text())
        .collect();
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    assert!(!texts[0].contains("hunter2"));
    let log = site.door.stderr();
    assert!(!log.contains("hunter2") && !log.contains("cGF1b"), "a password is in the log:\n{log}");
}

#[test]
fn over_plain_http_a_password_is_refused_be_it_right_or_wrong() {
    let (site, _) = start();
    let plain = |user: &str| {
        let curl = Curl::new(format!("http://{}/users/file", site.plain_address()));
        curl.arg("--user").arg(user).run()
    };
    let (right, wrong) = (plain("paul:hunter2"), plain("paul:wrong"));
    assert!(matches!(right.status, 401 | 403), "{} {}", right.status, right.text());
    assert!(right.text().contains("https"), "{}", right.text());
    assert_eq!((right.status, right.text()), (wrong.status, wrong.text()));
}

#[test]
fn a_changed_password_counts_without_a_restart_and_a_weak_hash_changes_nothing() {
    let (site, passwords) = start();
    let status =
        |user: &str| as_user(&site, user, "/users/").method("PROPFIND").header("Depth", "0").run().status;
    assert_eq!(status("paul:hunter2"), 404);

    htpasswd(&passwords, "paul", "hunter3", &["-B"]);
    eventually("the new password counts", || (status("paul:hunter3") == 404).then_some(()));
    assert_eq!(status("paul:hunter2"), 401);

    htpasswd(&passwords, "eve", "hunter4", &["-s"]);
    site.door.signal(rustix::process::Signal::HUP);
    eventually("the door says what is wrong", || {
        let log = site.door.stderr();
        (log.contains("the password of eve is SHA-1") && log.contains("the old ones stay")).then_some(())
    });
    assert_eq!(status("paul:hunter3"), 404);
}

#[test]
fn many_requests_of_one_user_cost_one_check() {
    let room = Room::new();
    let passwords = room.join("passwords");
    // Half a second for each check.
    htpasswd(&passwords, "paul", "hunter2", &["-c", "-B", "-C", "13"]);
    let tables = format!("[authentication]\npasswords = \"{}\"\n", passwords.display());
    let site = Plan::new().tables(&tables).start_in(room);
    let ask = || as_user(&site, "paul:hunter2", "/x").run().status;
    let began = Instant::now();
    let first = ask();
    let cost = began.elapsed();
    let began = Instant::now();
    for _ in 0..10 {
        assert_eq!(ask(), first);
    }
    assert!(began.elapsed() < cost * 6 + Duration::from_secs(1), "{:?}, the first {cost:?}", began.elapsed());
}
