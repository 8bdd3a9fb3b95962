//! `penstock-door check` against real things: a PostgreSQL that answers or does not, and a keytab.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use penstock_tests::binaries::binary;
use penstock_tests::cluster::Cluster;
use penstock_tests::postgres::Database;
use penstock_tests::room::Room;
use serde_json::Value;

/// What a wrong guess is called here, so that it is found if it is shown.
const WRONG_PASSWORD: &str = "opensesame";

/// What `check` finds of one thing, of a door with this namespace and further top keys.
fn found(room: &Room, what: &str, namespace: &str, more: &str) -> Value {
    let path = room.join("door.toml");
    let text = format!(
        "namespace = \"{namespace}\"\nmacaroon_keys = \"{0}/keys\"\n{more}\n[[pools]]\nname = \"pool01\"\nsocket = \"{0}/s\"\n",
        room.path().display()
    );
    std::fs::write(&path, text).unwrap();
    let output = Command::new(binary("penstock-door"))
        .args(["check", "--json", "--config"])
        .arg(&path)
        .env("KRB5_KTNAME", room.join("keytab"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(!said.contains(WRONG_PASSWORD), "{said}");
    let mut rows = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.find(|row| row["what"] == what).unwrap_or_else(|| panic!("nothing of {what} in {said}"))
}

fn assert_found(row: &Value, level: &str, told: &str) {
    let text = row["found"].as_str().unwrap_or_default();
    assert!(row["level"] == level && text.contains(told), "not {level} with {told:?}: {row}");
    assert_eq!(row["remedy"].is_null(), level == "ok", "{row}");
}

fn private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}

#[test]
fn an_empty_database_is_good_and_stays_empty() {
    let Some(database) = Database::make() else { return };
    let room = Room::new();

    let row = found(&room, "namespace", &database.url(), "");

    assert_found(&row, "ok", "no tables yet: the first start makes them");
    let tables = database.ask("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'");
    assert_eq!(tables, "0", "check has made something");
}

#[test]
fn tables_are_of_this_version_or_of_one_that_this_door_must_not_touch() {
    let Some(database) = Database::make() else { return };
    let room = Room::new();
    drop(Cluster::start_with_names(1, &database.url()));
    assert_found(&found(&room, "namespace", &database.url(), ""), "ok", "tables of this version");

    database.execute("UPDATE _sqlx_migrations SET success = false WHERE version = 1");
    assert_found(&found(&room, "namespace", &database.url(), ""), "failed", "was not done to its end");

    database.execute("UPDATE _sqlx_migrations SET success = true");
    database.execute(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'from the future', true, '\\x00', 0)",
    );
    assert_found(
        &found(&room, "namespace", &database.url(), ""),
        "failed",
        "is of a newer version of Penstock",
    );
}

#[test]
fn a_password_is_right_or_the_finding_says_so_without_it() {
    let Some(database) = Database::make() else { return };
    let room = Room::new();
    let url = database.url_with_password("rightone");
    let password = room.join("password");
    let key = format!("namespace_password_file = \"{}\"", password.display());

    private(&password, WRONG_PASSWORD);
    // The driver adds a line of the server's source, which helps nobody.
    let row = found(&room, "namespace", &url, &key);
    assert_found(&row, "failed", "correct the user in namespace, namespace_password_file");
    assert!(!row["found"].as_str().unwrap_or_default().contains("at line"), "{row}");

    private(&password, "rightone");
    assert_found(&found(&room, "namespace", &url, &key), "ok", "no tables yet");
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let room = Room::new();
    let url = format!("postgres://door@localhost/names?host={}", room.path().display());

    let row = found(&room, "namespace", &url, "");

    assert_found(&row, "failed", "postgres://door@localhost/names");
}

#[test]
fn a_keytab_is_looked_at_whether_or_not_this_door_can_use_it() {
    let room = Room::new();
    let keytab = room.join("keytab");
    let more = "tls = { listen = \"127.0.0.1:0\", cert = \"/c\", key = \"/k\" }\nauthentication = { kerberos = \"HTTP@localhost\" }";
    let look = || found(&room, "kerberos, keytab", &room.join("names.db").display().to_string(), more);

    assert_found(&look(), "failed", "cannot be looked at");

    private(&keytab, "\u{5}\u{2}");
    std::fs::set_permissions(&keytab, PermissionsExt::from_mode(0o644)).unwrap();
    assert_found(&look(), "warning", "can be read by everybody");
    std::fs::set_permissions(&keytab, PermissionsExt::from_mode(0o666)).unwrap();
    assert_found(&look(), "failed", "others can write to it");
}
