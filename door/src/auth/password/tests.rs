//! Password files from their beginning to their end.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, Version};

use super::*;

/// `htpasswd -nbB -C 4 paul hunter2`
const PAUL: &str = "paul:$2y$04$tr9VXus4TgggO9X2Hy3yeOfroADenDRkjc6PlZmA/FRiESDDvhfEa\n";

struct Site {
    directory: tempfile::TempDir,
}

impl Site {
    fn with(text: &str) -> Self {
        let site = Self { directory: tempfile::tempdir().unwrap() };
        site.write(text);
        site
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("passwords")
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
        fs::set_permissions(self.path(), fs::Permissions::from_mode(0o640)).unwrap();
    }

    fn load(&self) -> Result<Arc<Passwords>, String> {
        Passwords::load(&self.path()).map(Arc::new).map_err(|error| error.to_string())
    }
}

fn anna() -> String {
    let quick = Params::new(64, 1, 1, None).unwrap();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, quick);
    format!("anna:{}\n", argon2.hash_password_with_salt(b"correct horse", b"saltsaltsalt").unwrap())
}

async fn ask(passwords: &Passwords, user: &str, password: &str) -> Result<Identity, PasswordError> {
    passwords.verify(user, &Secret::new(password)).await
}

#[tokio::test]
async fn users_of_both_kinds_of_hashes_are_known_by_their_passwords() {
    let site = Site::with(&format!("# Users.\n\n{PAUL}{}", anna()));
    let passwords = site.load().unwrap();
    let identity = ask(&passwords, "paul", "hunter2").await.unwrap();
    assert_eq!((identity.scheme, identity.user.as_deref()), (Scheme::Password, Some("paul")));
    assert_eq!(ask(&passwords, "anna", "correct horse").await.unwrap().name, "anna");
    for (user, password) in [
        ("paul", "correct horse"),
        ("paul", ""),
        ("paul", "hunter2\0"),
        ("Paul", "hunter2"),
        ("nobody", "hunter2"),
        ("", ""),
    ] {
        assert_eq!(ask(&passwords, user, password).await, Err(PasswordError::Wrong), "{user} {password:?}");
    }
    let long = "x".repeat(MAX_PASSWORD_BYTES + 1);
    assert_eq!(ask(&passwords, "paul", &long).await, Err(PasswordError::Wrong));
}

#[tokio::test]
async fn a_user_is_in_the_groups_that_the_file_beside_names() {
    let site = Site::with(&format!("{PAUL}{}", anna()));
    fs::write(groups_path_of(&site), "/atlas/production: paul mary\n/atlas: paul\n").unwrap();
    let passwords = site.load().unwrap();
    let paul = ask(&passwords, "paul", "hunter2").await.unwrap();
    assert_eq!(paul.groups, ["/atlas/production", "/atlas"]);
    assert!(ask(&passwords, "anna", "correct horse").await.unwrap().groups.is_empty());
}

fn groups_path_of(site: &Site) -> PathBuf {
    file::groups_path(&site.path())
}

#[tokio::test]
async fn a_password_that_was_changed_counts_at_once_and_a_broken_file_changes_nothing() {
    let site = Site::with(PAUL);
    let passwords = site.load().unwrap();
    assert!(ask(&passwords, "paul", "hunter2").await.is_ok());

    site.write("nonsense");
    passwords.reload(false).await;
    assert!(ask(&passwords, "paul", "hunter2").await.is_ok());

    site.write(&anna().replace("anna", "paul"));
    passwords.reload(false).await;
    assert_eq!(ask(&passwords, "paul", "hunter2").await, Err(PasswordError::Wrong));
    assert!(ask(&passwords, "paul", "correct horse").await.is_ok());

    site.write(&anna());
    passwords.reload(true).await;
    assert_eq!(ask(&passwords, "paul", "correct horse").await, Err(PasswordError::Wrong));
}

#[tokio::test]
async fn a_password_that_was_good_needs_no_other_look_for_a_while() {
    // As dear as bcrypt is by default: 10 of these would take a second.
    let site = Site::with(&format!("paul:{}\n", bcrypt::hash("hunter2", 10).unwrap()));
    let passwords = site.load().unwrap();
    assert!(ask(&passwords, "paul", "hunter2").await.is_ok());
    passwords.places.close();
    assert!(ask(&passwords, "paul", "hunter2").await.is_ok(), "nobody is asked");
    assert_eq!(ask(&passwords, "paul", "hunter3").await, Err(PasswordError::Busy), "somebody would be");
}

#[tokio::test]
async fn more_than_can_wait_are_turned_away() {
    let site = Site::with(PAUL);
    let passwords = site.load().unwrap();
    let all = passwords.waiting.acquire_many(u32::try_from(MAX_WAITING).unwrap()).await.unwrap();
    assert_eq!(ask(&passwords, "paul", "hunter2").await, Err(PasswordError::Busy));
    drop(all);
    assert!(ask(&passwords, "paul", "hunter2").await.is_ok());
}

#[test]
fn a_file_that_is_of_no_use_is_refused_with_its_line() {
    for (text, expected) in [
        (String::new(), "are empty"),
        ("# nobody\n".into(), "are empty"),
        (format!("{PAUL}nonsense"), "passwords:2: it is no"),
        (format!("{PAUL}{PAUL}"), "passwords:2: paul is there twice"),
        ("paul:$apr1$x$y".into(), "passwords:1: the password of paul is MD5"),
        ("paul:hunter2".into(), "in clear"),
        (":$2y$04$x".into(), "passwords:1: the name is empty"),
    ] {
        let error = Site::with(&text).load().unwrap_err();
        assert!(error.contains(expected) && !error.contains('\n'), "{text}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_file_that_everybody_can_read_is_refused() {
    let site = Site::with(PAUL);
    fs::set_permissions(site.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let error = site.load().unwrap_err();
    assert!(error.contains("chmod o-rwx"), "{error}");
}
