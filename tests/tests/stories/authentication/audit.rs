//! The audit: who was refused, who changed what; and that repeated failures are slowed down.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use penstock_tests::issuer::Issuer;
use penstock_tests::macaroon::narrow;
use penstock_tests::patience::eventually;
use penstock_tests::raw::Raw;
use penstock_tests::room::Room;
use penstock_tests::secure_site::SecureSite;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{WHOLE_VO, trusting};

const AUDIT: &str = "audit = \"ROOM/audit.jsonl\"\n";

fn records(site: &SecureSite) -> Vec<Value> {
    let text = fs::read_to_string(site.room().join("audit.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The first record that fits, which is written a moment after the answer.
fn record(site: &SecureSite, fits: impl Fn(&Value) -> bool) -> Value {
    eventually("the record is there", || records(site).into_iter().find(|record| fits(record)))
}

#[test]
fn every_refusal_and_every_change_is_on_record_with_who_and_why() {
    let issuer = Issuer::start();
    let site = trusting(&issuer, WHOLE_VO, AUDIT);
    let mut tokens = issuer.tokens(&[
        json!({ "scope": "storage.modify:/" }),
        json!({ "scope": "storage.read:/", "jti": "reader" }),
        json!({ "exp": 1000 }),
    ]);
    let (expired, reader, writer) = (tokens.pop().unwrap(), tokens.pop().unwrap(), tokens.pop().unwrap());
    let put = site.stranger("/vo/f").token(Some(&writer)).follow().upload(&site.config()).run();
    assert_eq!(put.status, 201);
    assert_eq!(site.stranger("/vo/dir").token(Some(&writer)).method("MKCOL").run().status, 201);
    assert_eq!(site.stranger("/vo/f").token(Some(&reader)).method("DELETE").run().status, 403);
    assert_eq!(site.stranger(&format!("/vo/f?authz={expired}")).run().status, 401);
    assert_eq!(site.stranger("/vo/f").run().status, 401);

    let changed = record(&site, |record| {
        record["event"] == "changed" && record["method"] == "PUT" && record["path"] == "/vo/f"
    });
    assert_eq!(changed["issuer"], issuer.url());
    assert_eq!((&changed["subject"], &changed["token_id"]), (&json!("alice"), &json!("token-1")));
    assert_eq!((&changed["scheme"], &changed["client"]), (&json!("token"), &json!("127.0.0.1")));
    let named =
        record(&site, |record| record["event"] == "named" && record["transfer"] == changed["transfer"]);
    assert_eq!(named["pool"], "pool01");
    let mkcol = record(&site, |record| record["method"] == "MKCOL");
    assert_eq!((&mkcol["path"], &mkcol["status"]), (&json!("/vo/dir"), &json!(201)));
    let refused = record(&site, |record| record["event"] == "refused" && record["method"] == "DELETE");
    assert_eq!((&refused["token_id"], &refused["status"]), (&json!("reader"), &json!(403)));
    assert!(refused["why"].as_str().unwrap().contains("no scope for this"), "{refused}");
    let unproved = record(&site, |record| record["event"] == "refused" && record["scheme"].is_null());
    assert!(unproved["why"].as_str().unwrap().contains("expired"), "{unproved}");
    let stranger = record(&site, |record| record["scheme"] == "anonymous");
    assert_eq!(stranger["status"], 401);

    let all = fs::read_to_string(site.room().join("audit.jsonl")).unwrap();
    for secret in [&expired, &reader, &writer, &site.token] {
        assert!(!all.contains(&secret[secret.len() - 40..]), "a token is in the audit");
    }
    assert!(!all.contains("authz"), "a query is in the audit");
}

#[test]
fn whom_a_refused_credential_names_is_on_record_as_a_claim_and_no_password_is() {
    let room = Room::new();
    let issuer = Issuer::start();
    let passwords = room.join("passwords");
    let made =
        Command::new("htpasswd").args(["-c", "-B", "-b"]).arg(&passwords).args(["paul", "hunter2"]).output();
    assert!(made.expect("htpasswd is installed (Debian: apache2-utils)").status.success());
    fs::set_permissions(&passwords, fs::Permissions::from_mode(0o640)).unwrap();
    let more = format!("{AUDIT}passwords = \"{}\"\n", passwords.display());
    let site = trusting(&issuer, WHOLE_VO, &more);
    let expired = issuer.tokens(&[json!({ "exp": 1000, "sub": "carol", "jti": "token-77" })]).remove(0);
    let ended = narrow(&site.token, &["before:2020-01-01T00:00:00Z"]);
    let basic = |user: &str| site.stranger("/basic").arg("--user").arg(user).run().status;

    assert_eq!(site.stranger("/jwt").token(Some(&expired)).run().status, 401);
    assert_eq!(site.stranger("/macaroon").token(Some(&ended)).run().status, 401);
    // The second one types a password where the name should be.
    assert_eq!((basic("paul:wrong"), basic("hunter2:")), (401, 401));

    let claimed = |path: &str| record(&site, |record| record["path"] == path && record["event"] == "refused");
    let jwt = claimed("/jwt");
    assert_eq!((&jwt["who"], &jwt["subject"]), (&Value::Null, &Value::Null), "nothing is proved");
    assert_eq!(jwt["claimed"], json!({ "issuer": issuer.url(), "subject": "carol", "token_id": "token-77" }));
    assert_eq!(claimed("/macaroon")["claimed"]["subject"], "admin");
    let basic = eventually("both are on record", || {
        let both: Vec<Value> =
            records(&site).into_iter().filter(|record| record["path"] == "/basic").collect();
        (both.len() == 2).then_some(both)
    });
    assert_eq!((&basic[0]["claimed"], &basic[1]["claimed"]), (&json!({ "user": "paul" }), &Value::Null));
    assert!(!fs::read_to_string(site.room().join("audit.jsonl")).unwrap().contains("hunter2"));
}

#[test]
fn a_flood_of_refusals_does_not_fill_the_disk_and_what_was_left_out_is_counted() {
    let issuer = Issuer::start();
    let site = trusting(&issuer, WHOLE_VO, AUDIT);
    // One curl, one connection, 300 requests without a token.
    let _ = site.stranger("/vo/[1-300]").arg("--no-globoff").run();
    assert_eq!(site.curl("/vo/end").method("MKCOL").run().status, 409);
    assert_eq!(site.curl("/end").method("MKCOL").run().status, 201);
    let _ = record(&site, |record| record["path"] == "/end");
    let refused = records(&site).into_iter().filter(|record| record["event"] == "refused").count();
    assert!((50..=200).contains(&refused), "{refused} refusals on record");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(site.stranger("/vo/last").run().status, 401);
    let _ = record(&site, |record| record["path"] == "/vo/last");
    // Each one that is recorded tells of those before it that are not.
    let told = records(&site).iter().map(|record| record["left_out"].as_u64().unwrap()).sum::<u64>();
    let refused = records(&site).iter().filter(|record| record["event"] == "refused").count() as u64;
    assert_eq!(told + refused, 301, "{refused} on record, {told} left out");
}

#[test]
fn the_file_is_opened_again_when_logrotate_has_moved_it() {
    let issuer = Issuer::start();
    let site = trusting(&issuer, WHOLE_VO, AUDIT);
    assert_eq!(site.curl("/one").method("MKCOL").run().status, 201);
    let _ = record(&site, |record| record["path"] == "/one");
    let file = site.room().join("audit.jsonl");
    fs::rename(&file, site.room().join("audit.1")).unwrap();
    site.door.signal(Signal::HUP);
    eventually("the file is there again", || file.exists().then_some(()));
    assert_eq!(site.curl("/two").method("MKCOL").run().status, 201);
    let _ = record(&site, |record| record["path"] == "/two");
}

#[test]
fn who_fails_again_and_again_waits_and_others_do_not() {
    let issuer = Issuer::start();
    let site = trusting(&issuer, WHOLE_VO, "");
    let ask = |token: &str| {
        let began = Instant::now();
        let status = site.stranger("/x").token(Some(token)).run().status;
        (status, began.elapsed())
    };
    let times: Vec<Duration> = (0..8)
        .map(|_| {
            let (status, time) = ask("nonsense");
            assert_eq!(status, 401);
            time
        })
        .collect();
    assert!(times[7] > Duration::from_millis(900), "{times:?}");
    let (status, time) = ask(&site.token);
    assert_eq!(status, 404);
    assert!(time < times[7], "a good token is not slowed down: {time:?}");
}

#[test]
fn each_file_of_a_copied_directory_is_on_record_with_its_new_name() {
    let issuer = Issuer::start();
    let site = trusting(&issuer, WHOLE_VO, AUDIT);
    for path in ["/run/a", "/run/sub/b"] {
        let put = site.curl(path).follow().upload(&site.config()).run();
        assert_eq!(put.status, 201);
    }

    assert_eq!(site.curl("/run").method("COPY").header("Destination", "/copy").run().status, 201);

    let changed = record(&site, |record| record["method"] == "COPY");
    assert_eq!((&changed["path"], &changed["destination"]), (&json!("/run"), &json!("/copy")));
    let size = fs::metadata(site.config()).unwrap().len();
    for path in ["/copy/a", "/copy/sub/b"] {
        let named = record(&site, |record| record["event"] == "named" && record["path"] == path);
        assert_eq!((&named["pool"], &named["size"]), (&json!("pool01"), &json!(size)));
        assert!(named["transfer"].is_string(), "{named}");
    }
}

#[test]
fn a_change_whose_client_does_not_wait_for_the_answer_is_on_record() {
    let issuer = Issuer::start();
    let site = trusting(&issuer, WHOLE_VO, AUDIT);
    let gone: Vec<String> = (0..20).map(|number| format!("/gone{number}")).collect();

    for path in &gone {
        let mut client = Raw::connect(site.plain_address());
        client.send(head(&site, "MKCOL", path, ""));
        drop(client);
    }

    for path in &gone {
        let made = record(&site, |record| record["path"] == path.as_str());
        assert_eq!((&made["event"], &made["status"]), (&json!("changed"), &json!(201)));
        assert_eq!(made["token_id"].as_str().map(str::is_empty), Some(false), "{made}");
    }
}

#[test]
fn an_upload_through_the_door_whose_client_leaves_behind_the_last_byte_is_on_record() {
    let issuer = Issuer::start();
    let site = trusting(&issuer, WHOLE_VO, AUDIT);
    let mut client = Raw::connect(site.plain_address());
    client.send(head(&site, "PUT", "/left", "Content-Length: 5\r\n"));
    client.send("hell");
    let transfers = || site.pool.command(&["transfers", "--json"]).stdout;
    eventually("the pool has begun", || transfers().contains("/left").then_some(()));

    // So that the door cannot have an answer for it.
    site.pool.daemon.signal(Signal::STOP);
    client.send("o");
    drop(client);

    let left = record(&site, |record| record["path"] == "/left");
    site.pool.daemon.signal(Signal::CONT);
    assert_eq!((&left["event"], &left["method"]), (&json!("changed"), &json!("PUT")));
    assert_eq!((&left["status"], &left["who"]), (&Value::Null, &json!("admin")));
    assert!(left["transfer"].is_string(), "{left}");
}

#[test]
fn a_copy_of_a_directory_whose_client_leaves_is_on_record_with_what_it_leaves() {
    let issuer = Issuer::start();
    let site = trusting(&issuer, WHOLE_VO, AUDIT);
    assert_eq!(site.curl("/run/a").follow().upload(&site.config()).run().status, 201);
    let mut client = Raw::connect(site.plain_address());
    site.pool.daemon.signal(Signal::STOP);

    client.send(head(&site, "COPY", "/run", "Destination: /left\r\n"));
    let is_there = || site.curl("/left").arg("--head").run().status == 200;
    eventually("the directory is there", || is_there().then_some(()));
    drop(client);

    let left = record(&site, |record| record["method"] == "COPY");
    site.pool.daemon.signal(Signal::CONT);
    assert_eq!((&left["event"], &left["path"]), (&json!("changed"), &json!("/run")));
    assert_eq!((&left["destination"], &left["status"]), (&json!("/left"), &Value::Null));
}

#[test]
fn a_copy_that_fails_after_it_has_made_room_is_on_record() {
    let issuer = Issuer::start();
    let more = format!("{AUDIT}[timeouts]\npool_start = \"2s\"\n");
    let site = trusting(&issuer, WHOLE_VO, &more);
    assert_eq!(site.curl("/file").follow().upload(&site.config()).run().status, 201);
    assert_eq!(site.curl("/directory").method("MKCOL").run().status, 201);

    site.pool.daemon.signal(Signal::STOP);
    let copy = site.curl("/file").method("COPY").header("Destination", "/directory").run();
    site.pool.daemon.signal(Signal::CONT);

    assert_eq!(copy.status / 100, 5, "the pool does not answer");
    assert_eq!(site.curl("/directory").arg("--head").run().status, 404);
    let changed = record(&site, |record| record["method"] == "COPY");
    assert_eq!((&changed["event"], &changed["status"]), (&json!("changed"), &json!(copy.status)));
    assert_eq!(changed["destination"], "/directory");
}

/// The head of a request of the admin's.
fn head(site: &SecureSite, method: &str, path: &str, headers: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: door\r\nAuthorization: Bearer {}\r\n{headers}\r\n", site.token)
}
