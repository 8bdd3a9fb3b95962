//! Stories of the program `penstock-door` at a shell.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

fn run(directory: &Path, options: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_penstock-door"))
        .current_dir(directory)
        .args(["--config", "door.toml"])
        .args(options)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

const GOOD: &str = "namespace = \"namespace.db\"\nmacaroon_keys = \"keys\"\n\
                    [[pools]]\nname = \"pool01\"\nsocket = \"pool.sock\"\n";

#[test]
fn an_admin_makes_a_token_and_checks_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("door.toml"), GOOD).unwrap();

    let early = run(directory.path(), &["--check"]);
    assert!(!early.status.success());
    assert!(text(&early.stderr).contains("--init-token"), "{}", text(&early.stderr));

    for told in ["token: made\n", "token: still good\n"] {
        let output = run(directory.path(), &["--init-token", "token"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), told);
    }
    for name in ["token", "keys"] {
        let mode = std::fs::metadata(directory.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }

    let output = run(directory.path(), &["--check"]);
    assert_eq!(text(&output.stdout), "door.toml: good\n");
    assert!(!directory.path().join("namespace.db").exists(), "a check opens nothing");
}

#[test]
fn a_wrong_configuration_is_one_line_that_names_the_place() {
    let directory = tempfile::tempdir().unwrap();
    let bad = GOOD.replace("macaroon_keys", "macaron_keys");
    std::fs::write(directory.path().join("door.toml"), bad).unwrap();
    let output = run(directory.path(), &[]);
    assert!(!output.status.success());
    let error = text(&output.stderr);
    assert_eq!(
        error,
        "penstock-door: door.toml:2: macaron_keys: there is no such key; did you mean \"macaroon_keys\"?\n"
    );
}
