//! The site's policy: what it gives, what it keeps to itself, and how it is read again.

use std::fs;
use std::process::Command;

use penstock_tests::binaries::binary;
use penstock_tests::issuer::Issuer;
use penstock_tests::patience::eventually;
use rustix::process::Signal;
use serde_json::json;

use super::{WHOLE_VO, trusting};

const RULES: &str = r#"
[[rules]]
issuer = "ISSUER"
prefix = "/vo/data"
rights = ["read"]

[[rules]]
issuer = "ISSUER"
group = "/vo/prod"
prefix = "/vo/data"
rights = ["create"]
"#;

#[test]
fn a_token_gets_what_both_its_scopes_and_the_policy_name() {
    let issuer = Issuer::start();
    let site = trusting(&issuer, RULES, "");
    for name in ["/vo/data/f", "/vo/other/f"] {
        let _ = site.curl(name).follow().upload(&site.config()).run().expect(201);
    }
    let tokens = issuer.tokens(&[
        json!({ "scope": "storage.read:/ storage.modify:/" }),
        json!({ "wlcg.groups": ["/vo/prod"] }),
    ]);
    let status = |token: &str, path: &str| site.stranger(path).token(Some(token)).run().status;
    let put = |token: &str, path: &str| {
        site.stranger(path).token(Some(token)).follow().upload(&site.config()).run().status
    };
    assert_eq!(status(&tokens[0], "/vo/data/f"), 307);
    assert_eq!(status(&tokens[0], "/vo/other/f"), 403);
    assert_eq!(put(&tokens[0], "/vo/data/new"), 403);
    assert_eq!(put(&tokens[1], "/vo/data/new"), 201);
    assert_eq!(put(&tokens[1], "/vo/data/new"), 403, "no replacing");
    assert_eq!(status(&tokens[1], "/vo/data/f"), 403, "no reading");
}

#[test]
fn what_is_there_is_not_told_to_those_who_may_not_list_it() {
    let issuer = Issuer::start();
    let site = trusting(&issuer, RULES, "");
    let _ = site.curl("/vo/other/f").follow().upload(&site.config()).run().expect(201);
    let token = issuer.scoped("storage.read:/");
    let ask = |method: &str, path: &str| {
        let curl = site.stranger(path).token(Some(&token));
        let answer = match method {
            "PUT" => curl.upload(&site.config()).run(),
            "HEAD" => curl.head().run(),
            "MOVE" | "COPY" => curl.method(method).header("Destination", &site.url("/vo/data/x")).run(),
            "LOCK IF" => {
                let tag = format!("<{}> (Not [\"x\"])", site.url(path));
                site.stranger("/vo/data").token(Some(&token)).method("DELETE").header("If", &tag).run()
            }
            "PROPFIND" => curl.method(method).header("Depth", "0").run(),
            method => curl.method(method).run(),
        };
        (answer.status, answer.text().replace(path, "PATH"))
    };
    for method in [
        "GET",
        "HEAD",
        "PUT",
        "DELETE",
        "MKCOL",
        "PROPFIND",
        "PROPPATCH",
        "MOVE",
        "COPY",
        "LOCK",
        "UNLOCK",
        "LOCK IF",
    ] {
        let (there, missing) = (ask(method, "/vo/other/f"), ask(method, "/vo/other/g"));
        assert_eq!(there, missing, "{method}");
        assert_eq!(there.0, 403, "{method}: {}", there.1);
    }
    let listing = site.stranger("/vo").token(Some(&token)).method("PROPFIND").header("Depth", "1").run();
    assert!(listing.text().contains("<d:href>/vo/</d:href>"), "{}", listing.text());
    assert!(!listing.text().contains("other"), "{}", listing.text());
}

#[test]
fn a_changed_policy_counts_after_a_reload_and_a_broken_one_changes_nothing() {
    let issuer = Issuer::start();
    let site = trusting(&issuer, RULES, "");
    let _ = site.curl("/vo/other/f").follow().upload(&site.config()).run().expect(201);
    let token = issuer.scoped("storage.read:/");
    let status = || site.stranger("/vo/other/f").token(Some(&token)).run().status;
    assert_eq!(status(), 403);
    let policy = site.room().join("policy.toml");

    let wide = fs::read_to_string(&policy).unwrap().replacen("/vo/data", "/vo", 1);
    fs::write(&policy, &wide).unwrap();
    site.door.signal(Signal::HUP);
    eventually("the new policy counts", || (status() == 307).then_some(()));

    fs::write(&policy, format!("{wide}\n[[rules]]\nprefix = \"/\"\nrights = [\"read\"]\n")).unwrap();
    site.door.signal(Signal::HUP);
    eventually("the door says what is wrong", || {
        let log = site.door.stderr();
        (log.contains("the rule names nobody") && log.contains("the old one stays")).then_some(())
    });
    assert_eq!(status(), 307);

    let check = Command::new(binary("penstock-door"))
        .arg("--config")
        .arg(site.config())
        .arg("--check")
        .output()
        .unwrap();
    assert!(!check.status.success());
    assert!(String::from_utf8_lossy(&check.stderr).contains("policy.toml:"), "{check:?}");
}

#[test]
fn an_issuer_that_no_rule_names_is_told_of_at_the_start() {
    let issuer = Issuer::start();
    let site = trusting(&issuer, "", "");
    assert!(site.door.stderr().contains("no rule of the policy names it"), "{}", site.door.stderr());
    let token = issuer.scoped("storage.read:/");
    assert_eq!(site.stranger("/vo/f").token(Some(&token)).run().status, 403);
}

#[test]
fn who_may_only_add_files_locks_nothing_that_is_there_and_who_may_delete_breaks_a_lock() {
    const LOCK: &str = "<lockinfo xmlns=\"DAV:\"><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>";
    let issuer = Issuer::start();
    let site = trusting(&issuer, WHOLE_VO, "audit = \"ROOM/audit.jsonl\"\n");
    let _ = site.curl("/vo/dir/file").follow().upload(&site.config()).run().expect(201);
    let tokens = issuer.tokens(&[
        json!({ "scope": "storage.create:/" }),
        json!({ "scope": "storage.create:/", "sub": "bob" }),
        json!({ "scope": "storage.modify:/", "sub": "bob" }),
    ]);
    let lock = |token: &str, path: &str| {
        let curl = site.stranger(path).token(Some(token)).method("LOCK").header("Depth", "infinity");
        curl.arg("--data-binary").arg(LOCK).run()
    };
    assert_eq!((lock(&tokens[0], "/vo/dir").status, lock(&tokens[0], "/vo/dir/file").status), (403, 403));
    assert_eq!(lock(&tokens[2], "/vo/dir").status, 200);

    let taken = lock(&tokens[0], "/vo/new").expect(201);

    let unlock = |token: &str| {
        let curl = site.stranger("/vo/new").token(Some(token)).method("UNLOCK");
        curl.header("Lock-Token", taken.header("Lock-Token").unwrap()).run().status
    };
    assert_eq!((unlock(&tokens[1]), unlock(&tokens[2])), (403, 204));
    eventually("the audit says who has broken it", || {
        let audit = fs::read_to_string(site.room().join("audit.jsonl")).unwrap_or_default();
        audit
            .lines()
            .any(|line| line.contains("\"UNLOCK\"") && line.contains("bob") && line.contains("204"))
            .then_some(())
    });
}
