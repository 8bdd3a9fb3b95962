//! Signed tokens of an issuer: as the WLCG profile's compliance list has it, by curl, rclone and davix.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use penstock_tests::davix;
use penstock_tests::files::{self, MIB};
use penstock_tests::issuer::Issuer;
use penstock_tests::remote::openssl;
use penstock_tests::secure_site::SecureSite;
use serde_json::{Value, json};

use super::{WHOLE_VO, trusting, trusting_as};

fn ask(site: &SecureSite, token: &str, method: &str, path: &str) -> u16 {
    let curl = site.stranger(path).token(Some(token));
    let curl = match method {
        "GET" => curl,
        "HEAD" => curl.head(),
        "PUT" => curl.follow().upload(&site.config()),
        "PROPFIND" => curl.method(method).header("Depth", "1"),
        "MOVE" => curl.method(method).header("Destination", &site.url(&format!("{path}-moved"))),
        method => curl.method(method),
    };
    curl.run().status
}

#[test]
fn the_compliance_list_of_the_wlcg_profile() {
    let issuer = Issuer::start();
    let site = trusting(&issuer, WHOLE_VO, "");
    for name in ["/vo/foo/f", "/vo/foo/g", "/vo/foo/h", "/vo/foobar/f", "/vo/f"] {
        let _ = site.curl(name).follow().upload(&site.config()).run().expect(201);
    }
    let read = json!({ "scope": "storage.read:/foo" });
    let create = json!({ "scope": "storage.create:/foo" });
    let modify = json!({ "scope": "storage.modify:/foo" });
    let table = [
        (json!({ "scope": "storage.read:/" }), "GET", "/vo/f", 307),
        (json!({ "scope": "storage.read:/", "aud": "https://random.example" }), "GET", "/vo/f", 401),
        (json!({}), "GET", "/vo/f", 403),
        (json!({}), "PUT", "/vo/new", 403),
        (json!({ "wlcg.groups": ["/vo"] }), "GET", "/vo/f", 307),
        (json!({ "wlcg.groups": ["/other"] }), "GET", "/vo/f", 403),
        (read.clone(), "GET", "/vo/foo/f", 307),
        (read.clone(), "PROPFIND", "/vo/foo/", 207),
        (read.clone(), "PUT", "/vo/foo/new", 403),
        (read.clone(), "DELETE", "/vo/foo/f", 403),
        (read.clone(), "GET", "/vo/foobar/f", 403),
        (read.clone(), "GET", "/vo/foo/missing", 404),
        (read.clone(), "GET", "/vo/bar/missing", 403),
        (read.clone(), "GET", "/vo//foo///f", 307),
        (create.clone(), "PUT", "/vo/foo/new", 201),
        (create.clone(), "PUT", "/vo/foo/new", 403),
        (create.clone(), "MKCOL", "/vo/foo/dir", 201),
        (create.clone(), "MOVE", "/vo/foo/g", 201),
        (create.clone(), "DELETE", "/vo/foo/f", 403),
        (create.clone(), "GET", "/vo/foo/f", 403),
        (create, "HEAD", "/vo/foo/f", 200),
        (modify.clone(), "PUT", "/vo/foo/f", 204),
        (modify.clone(), "MKCOL", "/vo/foo/dir2", 201),
        (modify.clone(), "DELETE", "/vo/foo/h", 204),
        (modify.clone(), "GET", "/vo/foo/f", 403),
        (modify, "PUT", "/vo/foobar/new", 403),
        (json!({ "scope": "storage.stage:/foo" }), "GET", "/vo/foo/f", 403),
        (json!({ "scope": "storage.read:/../" }), "GET", "/vo/f", 401),
    ];
    let changes: Vec<_> = table.iter().map(|(changes, ..)| changes.clone()).collect();
    for (token, (changes, method, path, expected)) in issuer.tokens(&changes).iter().zip(table) {
        assert_eq!(ask(&site, token, method, path), expected, "{changes} {method} {path}");
    }
    assert_eq!(issuer.asked_for("/jwks"), 1, "keys are read once");
}

#[test]
fn the_same_list_for_scitokens() {
    let issuer = Issuer::start();
    let site = trusting_as(&issuer, WHOLE_VO, "", "profile = \"scitokens\"");
    for name in ["/vo/foo/f", "/vo/foo/h", "/vo/foobar/f", "/vo/f"] {
        let _ = site.curl(name).follow().upload(&site.config()).run().expect(201);
    }
    let scitoken = |changes: Value| {
        let mut all = json!({ "wlcg.ver": null, "ver": "scitoken:2.0", "aud": "ANY", "jti": null });
        all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        all
    };
    let read = json!({ "scope": "read:/foo" });
    let write = json!({ "scope": "write:/foo" });
    let table = [
        (read.clone(), "GET", "/vo/foo/f", 307),
        (read.clone(), "PROPFIND", "/vo/foo/", 207),
        (read.clone(), "PUT", "/vo/foo/new", 403),
        (read.clone(), "DELETE", "/vo/foo/f", 403),
        (read.clone(), "GET", "/vo/foobar/f", 403),
        (read.clone(), "GET", "/vo/f", 403),
        (read.clone(), "GET", "/vo//foo///f", 307),
        (write.clone(), "PUT", "/vo/foo/new", 201),
        (write.clone(), "PUT", "/vo/foo/new", 204),
        (write.clone(), "MKCOL", "/vo/foo/dir", 201),
        (write.clone(), "DELETE", "/vo/foo/h", 204),
        (write.clone(), "GET", "/vo/foo/f", 403),
        (write, "PUT", "/vo/foobar/new", 403),
        (json!({ "scope": "read:/", "aud": "https://wlcg.cern.ch/jwt/v1/any" }), "GET", "/vo/f", 401),
        (json!({ "scope": "read:/", "aud": ["https://random.example", "ANY"] }), "GET", "/vo/f", 307),
        (json!({ "scope": "read:/", "aud": null }), "GET", "/vo/f", 401),
        (json!({ "scope": "read:/", "ver": null }), "GET", "/vo/f", 401),
        (json!({ "scope": "read:/", "ver": "scitoken:3.0" }), "GET", "/vo/f", 401),
        (json!({ "scope": "read:/../" }), "GET", "/vo/f", 401),
        (json!({ "scope": "storage.read:/" }), "GET", "/vo/f", 403),
        (json!({ "wlcg.groups": ["/vo"] }), "GET", "/vo/f", 403),
        (json!({}), "GET", "/vo/f", 403),
    ];
    let changes: Vec<_> = table.iter().map(|(changes, ..)| scitoken(changes.clone())).collect();
    for (token, (changes, method, path, expected)) in issuer.tokens(&changes).iter().zip(table) {
        assert_eq!(ask(&site, token, method, path), expected, "{changes} {method} {path}");
    }
}

#[test]
fn access_tokens_of_an_openid_provider_open_what_their_groups_may() {
    let issuer = Issuer::start();
    let site =
        trusting_as(&issuer, WHOLE_VO, "", "profile = \"oidc\"\naudiences = [\"https://storage.example\"]");
    let _ = site.curl("/vo/foo/f").follow().upload(&site.config()).run().expect(201);
    // As RFC 9068 §2.2 has it: nothing of the grids' profiles in it.
    let access_token = |changes: Value| {
        let mut all = json!({
            "wlcg.ver": null, "nbf": null, "aud": ["https://portal.example", "https://storage.example"], "client_id": "portal",
            "scope": "openid profile",
        });
        all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        all
    };
    let member = json!({ "entitlements": ["/vo"] });
    let narrowed = json!({ "groups": ["/vo"], "scope": "openid storage.read:/foo" });
    let table = [
        (member.clone(), "GET", "/vo/foo/f", 307),
        (member.clone(), "PROPFIND", "/vo/foo/", 207),
        (member.clone(), "PUT", "/vo/foo/new", 201),
        (member, "GET", "/elsewhere", 403),
        (json!({ "groups": ["/other"] }), "GET", "/vo/foo/f", 403),
        (json!({}), "GET", "/vo/foo/f", 403),
        // Scopes that speak of storage bound what groups give.
        (narrowed.clone(), "GET", "/vo/foo/f", 307),
        (narrowed, "PUT", "/vo/foo/other", 403),
        // A claim of another profile is none of this one, nor is its word for every audience.
        (json!({ "wlcg.groups": ["/vo"] }), "GET", "/vo/foo/f", 403),
        (json!({ "groups": ["/vo"], "aud": "https://wlcg.cern.ch/jwt/v1/any" }), "GET", "/vo/foo/f", 401),
        (json!({ "groups": ["/vo"], "aud": "https://portal.example" }), "GET", "/vo/foo/f", 401),
        (json!({ "groups": ["/vo"], "aud": null }), "GET", "/vo/foo/f", 401),
        (json!({ "groups": ["/vo"], "exp": 1000 }), "GET", "/vo/foo/f", 401),
        (json!({ "groups": ["/vo"], "sub": null }), "GET", "/vo/foo/f", 401),
    ];
    let changes: Vec<_> = table.iter().map(|(changes, ..)| access_token(changes.clone())).collect();
    for (token, (changes, method, path, expected)) in issuer.tokens(&changes).iter().zip(table) {
        assert_eq!(ask(&site, token, method, path), expected, "{changes} {method} {path}");
    }
    assert_eq!(issuer.asked_for("/jwks"), 1, "keys are read once");
}

#[test]
fn what_dots_and_slashes_of_a_path_lead_out_of_a_scope_is_refused() {
    let issuer = Issuer::start();
    let site = trusting(&issuer, WHOLE_VO, "");
    let _ = site.curl("/vo/secret").follow().upload(&site.config()).run().expect(201);
    let token = issuer.scoped("storage.read:/foo");
    for path in ["/vo/foo/../secret", "/vo/foo/%2e%2e/secret", "/vo/foo/..%2fsecret", "/vo/foo%2f..%2fsecret"]
    {
        let answer = site.stranger(path).arg("--path-as-is").token(Some(&token)).run();
        assert!(matches!(answer.status, 400 | 403), "{path}: {}", answer.status);
    }
}

#[test]
fn a_refused_token_is_told_why_and_neither_text_nor_log_hold_it() {
    let issuer = Issuer::start();
    let site = trusting(&issuer, WHOLE_VO, "");
    let tokens = issuer.tokens(&[
        json!({ "exp": 1000, "scope": "storage.read:/" }),
        json!({ "iss": "https://evil.example", "scope": "storage.read:/" }),
    ]);
    for (token, expected) in tokens.iter().zip(["expired at 1970-01-01", "not one that this site trusts"]) {
        let answer = site.stranger("/vo/f").token(Some(token)).run().expect(401);
        assert!(answer.text().contains(expected), "{}", answer.text());
        let challenge = answer.header("WWW-Authenticate").unwrap();
        assert!(challenge.starts_with("Bearer realm=") && challenge.contains("invalid_token"), "{challenge}");
        for place in [answer.text(), site.door.stderr()] {
            assert!(!place.contains(&token[..60]) && !place.contains(&token[token.len() - 40..]), "{place}");
        }
    }
}

#[test]
fn tokens_go_on_working_when_the_issuer_is_away_and_a_new_key_is_found_when_it_is_there() {
    let mut issuer = Issuer::start();
    let site = trusting(&issuer, WHOLE_VO, "");
    let _ = site.curl("/vo/f").follow().upload(&site.config()).run().expect(201);
    let old = issuer.scoped("storage.read:/");
    assert_eq!(ask(&site, &old, "GET", "/vo/f"), 307);
    issuer.stop();
    assert_eq!(ask(&site, &old, "GET", "/vo/f"), 307);
    // A reload keeps what is known.
    site.door.signal(rustix::process::Signal::HUP);
    penstock_tests::patience::eventually("the configuration was read again", || {
        site.door.stderr().contains("the configuration was read again").then_some(())
    });
    assert_eq!(ask(&site, &old, "GET", "/vo/f"), 307);
}

/// A site that keeps its issuers' keys on its disk, started again while the issuer is away.
fn started_again_without_the_issuer(issuer: &mut Issuer, more: &str, token: &str) -> SecureSite {
    let mut site = trusting(issuer, WHOLE_VO, more);
    let _ = site.curl("/vo/f").follow().upload(&site.config()).run().expect(201);
    assert_eq!(ask(&site, token, "GET", "/vo/f"), 307);
    issuer.stop();
    site.restart_door();
    site
}

#[test]
fn a_door_that_starts_while_the_issuer_is_away_goes_on_with_the_keys_on_its_disk() {
    let mut issuer = Issuer::start();
    let token = issuer.scoped("storage.read:/");
    let other = {
        let other = Issuer::start();
        other.tokens(&[json!({ "iss": issuer.url(), "scope": "storage.read:/" })]).remove(0)
    };
    let kept = "issuer_keys = \"ROOM/issuer-keys\"\n";
    let mut site = started_again_without_the_issuer(&mut issuer, kept, &token);

    assert_eq!(ask(&site, &token, "GET", "/vo/f"), 307);
    assert_eq!(ask(&site, &other, "GET", "/vo/f"), 401, "a key of the same id, and not the issuer's");
    assert!(site.door.stderr().contains("the issuer's stored keys are in use"));

    // For no longer than a door would go on with them that had not been started again.
    let directory = site.room().join("issuer-keys");
    assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
    let files: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [file] = files.as_slice() else { panic!("{files:?}") };
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    let mut written: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    written["fetched_at"] = json!("2026-01-01T00:00:00Z");
    fs::write(file, written.to_string()).unwrap();
    site.restart_door();
    let refused = site.stranger("/vo/f").token(Some(&token)).run().expect(401);
    assert!(refused.text().contains("cannot be had at the moment"), "{}", refused.text());
    assert!(site.door.stderr().contains("it is older than 48 hours"));

    // As soon as the issuer is there again, all is well.
    issuer.restart();
    site.restart_door();
    assert_eq!(ask(&site, &token, "GET", "/vo/f"), 307);
}

#[test]
fn without_a_place_for_keys_a_door_that_starts_while_the_issuer_is_away_lets_in_none_of_its_users() {
    let mut issuer = Issuer::start();
    let token = issuer.scoped("storage.read:/");
    let site = started_again_without_the_issuer(&mut issuer, "", &token);
    assert_eq!(ask(&site, &token, "GET", "/vo/f"), 401);
    assert_eq!(ask(&site, &site.token, "GET", "/vo/f"), 307, "others are let in");
}

#[test]
fn davix_puts_and_gets_and_rclone_copies_with_nothing_but_a_token_over_https() {
    let issuer = Issuer::start();
    let site = trusting(&issuer, WHOLE_VO, "");
    let token = issuer.scoped("storage.read:/ storage.modify:/");
    let reader = issuer.scoped("storage.read:/");
    assert_eq!(ask(&site, &site.token, "MKCOL", "/vo"), 201);
    let file = files::file(site.room(), "in", 3 * MIB, 2);
    let (input, trust) = (fs::read(&file).unwrap(), site.room().join("trust-of-clients"));
    fs::create_dir(&trust).unwrap();
    fs::copy(site.authority.certificate(), trust.join("site.pem")).unwrap();
    openssl::rehash(&trust);
    let davix = |tool: &str, token: &str, words: &[&str]| {
        let output = Command::new(tool)
            .args(["--capath", trust.to_str().unwrap(), "-H", &format!("Authorization: Bearer {token}")])
            .args(words)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .output()
            .unwrap_or_else(|error| panic!("{tool}: {error} (Debian: davix)"));
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let (there, back) = (site.url("/vo/by-davix"), site.room().join("by-davix"));

    let (put, said) = davix("davix-put", &token, &[file.to_str().unwrap(), &there]);
    assert!(put, "{said}");
    let (got, said) = davix("davix-get", &token, &[&there, back.to_str().unwrap()]);
    assert!(got, "{said}");
    assert!(fs::read(&back).unwrap() == input);
    let (refused, said) = davix("davix-put", &reader, &[file.to_str().unwrap(), &site.url("/vo/refused")]);
    assert!(!refused && said.contains("403"), "{said}");
    assert_eq!(ask(&site, &token, "HEAD", "/vo/refused"), 404);

    let rclone = |token: &str, words: &[&str]| {
        let remote = format!(":webdav,url=\"{}\",bearer_token=\"{token}\":", site.url("/vo"));
        let words = words.iter().map(|word| word.replace("SITE:", &remote));
        let mut command = Command::new("rclone");
        command.args(["--config", "/dev/null", "--retries", "1", "--low-level-retries", "1", "--ca-cert"]);
        command.arg(site.authority.certificate()).args(words).output().expect("rclone is installed")
    };
    let output = rclone(&token, &["copyto", file.to_str().unwrap(), "SITE:by-rclone"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = rclone(&reader, &["cat", "SITE:by-rclone"]);
    assert!(output.status.success() && output.stdout == input, "{}", String::from_utf8_lossy(&output.stderr));
    let output = rclone(&reader, &["copyto", file.to_str().unwrap(), "SITE:refused"]);
    assert!(!output.status.success());
    assert_eq!(ask(&site, &token, "HEAD", "/vo/refused"), 404);
    // One name, one object: both tools have stored the same.
    let digest = |path: &str| {
        let answer = site.stranger(path).token(Some(&token)).head().header("Want-Digest", "adler32").run();
        answer.expect(200).header("Digest").map(str::to_owned)
    };
    assert_eq!(digest("/vo/by-davix"), Some(format!("adler32={}", files::adler32_hex(&input))));
    assert_eq!(digest("/vo/by-davix"), digest("/vo/by-rclone"));
}

#[test]
fn rclone_and_davix_work_with_a_token() {
    let issuer = Issuer::start();
    let site = trusting(&issuer, WHOLE_VO, "");
    let token = issuer.scoped("storage.read:/ storage.modify:/");
    assert_eq!(ask(&site, &site.token, "MKCOL", "/vo"), 201);
    let file = files::file(site.room(), "in", 2 * MIB, 1);
    let bundle = site.authority.certificate();
    let rclone = |words: &[&str]| {
        let output = Command::new("rclone")
            .args(["--config", "/dev/null", "--ca-cert"])
            .arg(&bundle)
            .args(words)
            .output()
            .expect("rclone is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let remote = format!(":webdav,url=\"{}\",bearer_token=\"{token}\":", site.url("/vo"));
    rclone(&["copyto", file.to_str().unwrap(), &format!("{remote}tree/file")]);
    assert!(rclone(&["lsf", &format!("{remote}tree")]).contains("file"));
    let back = site.room().join("back");
    rclone(&["copyto", &format!("{remote}tree/file"), back.to_str().unwrap()]);
    assert_eq!(std::fs::read(&back).unwrap(), std::fs::read(&file).unwrap());

    // davix against the plain port, as it takes no bundle of authorities in one file.
    let plain = format!("http://{}", site.plain_address());
    let authorization = format!("Authorization: Bearer {token}");
    let outcome = davix::copy(
        davix::Mode::Pull,
        &format!("{plain}/vo/tree/file"),
        &format!("{plain}/vo/tree/copy"),
        &[authorization.clone(), format!("TransferHeader{authorization}")],
    );
    // The site's own address is one that third-party copies do not go to: what counts is that the token was taken.
    assert!(
        !outcome.said.contains("401") && !outcome.said.contains("403 Forbidden: the token"),
        "{}",
        outcome.said
    );
    let listing = Command::new("davix-ls").args(["-H", &authorization, &format!("{plain}/vo/tree")]).output();
    let listing = listing.expect("davix is installed");
    assert!(String::from_utf8_lossy(&listing.stdout).contains("file"), "{listing:?}");
}
