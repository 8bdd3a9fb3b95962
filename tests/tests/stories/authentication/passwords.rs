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

#[test]
fn a_thousand_wrong_passwords_open_nothing_and_keep_nobody_out() {
    const GUESSES: usize = 1000;
    const AT_ONCE: &str = "50";
    let room = Room::new();
    let (passwords, audit) = (room.join("passwords"), room.join("audit.jsonl"));
    htpasswd(&passwords, "paul", "hunter2", &["-c", "-B"]);
    let tables = format!(
        "[authentication]\npasswords = \"{}\"\naudit = \"{}\"\n",
        passwords.display(),
        audit.display()
    );
    let site = Plan::new().tables(&tables).start_in(room);

    // Each with a name or a password of its own, so that nothing remembered answers for it.
    let mut guesses = String::new();
    for guess in 0..GUESSES {
        let user = if guess % 2 == 0 { format!("paul:guess{guess}") } else { format!("user{guess}:hunter2") };
        guesses += &format!(
            "next\nurl = \"{}\"\nuser = \"{user}\"\noutput = \"/dev/null\"\nwrite-out = \"%{{http_code}}\\n\"\n\
             silent\ninsecure\nipv4\ninterface = \"127.0.0.2\"\n",
            site.url("/x"),
        );
    }
    let list = site.room().join("guesses");
    std::fs::write(&list, guesses.trim_start_matches("next\n")).unwrap();
    let mut attacker = Command::new("curl")
        .args(["--parallel", "--parallel-immediate", "--parallel-max", AT_ONCE, "--config"])
        .arg(list)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("curl is installed");

    let mut entered = 0;
    while attacker.try_wait().unwrap().is_none() {
        assert_eq!(as_user(&site, "paul:hunter2", "/x").run().status, 403, "paul, from another address");
        entered += 1;
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(entered > 0, "paul came while the guessing went on");
    let mut answers = String::new();
    std::io::Read::read_to_string(attacker.stdout.as_mut().unwrap(), &mut answers).unwrap();
    let count = |status: &str| answers.lines().filter(|line| *line == status).count();
    let (refused, unheard) = (count("401"), count("429"));
    assert_eq!(refused + unheard, GUESSES, "{answers:.2000}");
    assert!(unheard > refused, "most were not even looked at: {refused} were");

    eventually("the address is heard again", || {
        (as_user(&site, "paul:hunter2", "/x").arg("--ipv4").arg("--interface").arg("127.0.0.2").run().status
            == 403)
            .then_some(())
    });
    let audit = std::fs::read_to_string(audit).unwrap();
    let records = audit.lines().count();
    assert!((1..GUESSES / 2).contains(&records), "{records} records of {GUESSES} guesses");
    for place in [audit, site.door.stderr()] {
        assert!(
            !place.contains("guess1") && !place.contains("hunter2"),
            "a password is told:\n{place:.2000}"
        );
    }
}
