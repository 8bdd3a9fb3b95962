//! Users with certificates and proxies, made by OpenSSL and by the grid's own tools, shown by curl.

use penstock_tests::curl::{Answer, Curl};
use penstock_tests::files::{self, MIB};
use penstock_tests::grid::{AUTHORITY, Credential, Grid, Proxy};
use penstock_tests::patience::eventually;
use penstock_tests::room::Room;
use penstock_tests::secure_site::{Plan, SecureSite};

/// A site that lets in the users of a grid.
struct Site {
    site: SecureSite,
    grid: Grid,
}

impl Site {
    fn start() -> Site {
        let room = Room::new();
        let grid = Grid::new(room.path());
        let policy = room.join("policy.toml");
        let rules =
            "[[rules]]\ndn = \"/C=XX/O=Grid/*\"\nprefix = \"/grid\"\nrights = [\"modify\", \"read\"]\n";
        std::fs::write(&policy, rules).unwrap();
        let tables = format!(
            "[authentication]\nauthorities = \"{}\"\npolicy = \"{}\"\n",
            grid.trust().display(),
            policy.display()
        );
        let site = Plan::new().tables(&tables).start_in(room);
        Site { site, grid }
    }

    fn curl(&self, credential: &Credential, path: &str) -> Curl {
        self.site.stranger(path).arg("--cert").arg(&credential.file)
    }

    fn get(&self, credential: &Credential) -> Answer {
        self.curl(credential, "/grid/file").follow().run()
    }

    /// The text with which a credential is refused.
    fn refusal(&self, credential: &Credential) -> String {
        let answer = self.get(credential).expect(401);
        assert!(answer.header("WWW-Authenticate").is_some(), "{:?}", answer.heads);
        answer.text()
    }
}

#[test]
fn a_user_stores_with_a_certificate_and_fetches_with_proxies_of_the_grids_own_tools() {
    let here = Site::start();
    let paul = here.grid.user("paul");
    let file = files::file(here.site.room(), "in", 2 * MIB, 1);
    let _ = here.curl(&paul, "/grid/file").follow().upload(&file).run().expect(201);
    let proxies = [
        ("grid-proxy-init", &["-rfc", "-bits", "2048"][..]),
        ("grid-proxy-init", &["-rfc", "-limited", "-bits", "2048"]),
        ("grid-proxy-init", &["-old", "-bits", "2048"]),
        ("voms-proxy-init", &["-rfc", "-bits", "2048"]),
    ];
    for (tool, words) in proxies {
        let proxy = here.grid.tool(tool, &paul, words);

        let fetched = here.get(&proxy).expect(200);

        assert_eq!(fetched.body, std::fs::read(&file).unwrap(), "{tool} {words:?}");
    }
    // The log says whose requests these are, by the owner's name.
    assert!(here.site.door.stderr().contains("/C=XX/O=Grid/CN=paul"), "{}", here.site.door.stderr());
}

#[test]
fn a_proxy_with_attributes_of_a_voms_is_its_owners_and_the_attributes_say_nothing() {
    let room = Room::new();
    let grid = Grid::new(room.path());
    let policy = room.join("policy.toml");
    let rules = "[[rules]]\ndn = \"/C=XX/O=Grid/CN=paul\"\nprefix = \"/paul\"\nrights = [\"modify\", \"read\"]\n\
                 [[rules]]\ngroup = \"/vo*\"\nprefix = \"/vo\"\nrights = [\"modify\", \"read\"]\n";
    std::fs::write(&policy, rules).unwrap();
    let tables = format!(
        "[authentication]\nauthorities = \"{}\"\npolicy = \"{}\"\n",
        grid.trust().display(),
        policy.display()
    );
    let (paul, server) = (grid.user("paul"), grid.user("voms.example.org"));
    // Nobody but its own server could vouch for them; this door believes none.
    let host = server.file.to_str().unwrap().to_owned();
    let words = ["-rfc", "-bits", "2048", "-hostcert", &host, "-hostkey", &host, "-voms", "vo"];
    let more = ["-fqan", "/vo/Role=production", "-uri", "voms.example.org:15000"];
    let proxy = grid.tool("voms-proxy-fake", &paul, &[&words[..], &more[..]].concat());
    let text = std::process::Command::new("openssl")
        .args(["x509", "-noout", "-text", "-in"])
        .arg(&proxy.file)
        .output();
    let text = String::from_utf8_lossy(&text.unwrap().stdout).into_owned();
    assert!(text.contains("1.3.6.1.4.1.8005.100.100.5"), "the proxy has attributes: {text}");
    let site = Plan::new().tables(&tables).start_in(room);
    let file = files::file(site.room(), "in", 1000, 1);
    let put =
        |path: &str| site.stranger(path).arg("--cert").arg(&proxy.file).follow().upload(&file).run().status;

    assert_eq!(put("/paul/file"), 201);
    assert_eq!(put("/vo/file"), 403);
}

#[test]
fn groups_and_roles_of_a_vo_open_what_the_policy_gives_them() {
    let room = Room::new();
    let grid = Grid::new(room.path());
    let (policy, audit) = (room.join("policy.toml"), room.join("audit.jsonl"));
    let rules = "[[rules]]\ngroup = \"/vo/Role=production\"\nprefix = \"/vo\"\nrights = [\"modify\", \"read\"]\n\
                 [[rules]]\ngroup = \"/vo\"\nprefix = \"/vo\"\nrights = [\"read\"]\n";
    std::fs::write(&policy, rules).unwrap();
    let (paul, server) = (grid.user("paul"), grid.user("voms.example.org"));
    let list = room.join("vomsdir/vo/voms.example.org.lsc");
    std::fs::create_dir_all(list.parent().unwrap()).unwrap();
    std::fs::write(&list, format!("/C=XX/O=Grid/CN=voms.example.org\n{AUTHORITY}\n")).unwrap();
    let tables = format!(
        "[authentication]\nauthorities = \"{}\"\nvoms = \"{}\"\npolicy = \"{}\"\naudit = \"{}\"\n",
        grid.trust().display(),
        room.join("vomsdir").display(),
        policy.display(),
        audit.display()
    );
    let proxy = |more: &[&str]| {
        let host = server.file.to_str().unwrap().to_owned();
        let words = ["-rfc", "-bits", "2048", "-hostcert", &host, "-hostkey", &host, "-voms", "vo"];
        let uri = ["-uri", "voms.example.org:15000"];
        grid.tool("voms-proxy-fake", &paul, &[&words[..], &uri[..], more].concat())
    };
    let producer = proxy(&["-fqan", "/vo/Role=production", "-fqan", "/vo/Role=NULL/Capability=NULL"]);
    let member = proxy(&["-fqan", "/vo/Role=NULL/Capability=NULL"]);
    let ended = proxy(&["-fqan", "/vo/Role=production", "-pastac", "24:00", "-vomslife", "1"]);
    let elsewhere = proxy(&["-fqan", "/vo/Role=production", "-target", "other.example.org"]);
    let site = Plan::new().tables(&tables).start_in(room);
    let file = files::file(site.room(), "in", 1000, 1);
    let curl =
        |credential: &Credential| site.stranger("/vo/file").arg("--cert").arg(&credential.file).follow();

    let _ = curl(&producer).upload(&file).run().expect(201);
    let _ = curl(&member).run().expect(200);
    let refused = curl(&member).upload(&file).run().expect(403).text();
    assert!(!refused.contains("VOMS"), "nothing is wrong with what was shown: {refused}");
    let refused = curl(&ended).run().expect(403).text();
    assert!(refused.contains("the VOMS attributes of vo do not count: they have ended at"), "{refused}");
    let refused = curl(&elsewhere).run().expect(403).text();
    assert!(refused.contains("they are for certain hosts only"), "{refused}");
    let log = site.door.stderr();
    assert!(
        log.lines()
            .any(|line| line.contains("attributes of a client are ignored")
                && line.contains("they have ended at")),
        "{log}"
    );

    // A proxy of the proxy, as jobs get one, has the groups of the one that it was made from.
    let below = grid.proxy_of_file("job", &producer);
    let _ = curl(&below).upload(&file).run().expect(204);

    std::fs::remove_file(&list).unwrap();
    eventually("the server is not known any more", || {
        let answer = curl(&producer).run();
        (answer.status == 403 && answer.text().contains("knows no server voms.example.org")).then_some(())
    });
    let records = std::fs::read_to_string(&audit).unwrap();
    let stored = records.lines().find(|line| line.contains("\"path\":\"/vo/file\"")).unwrap();
    assert!(stored.contains("\"groups\":[\"/vo/Role=production\",\"/vo\"]"), "{stored}");
}

#[test]
fn a_certificate_opens_what_the_policy_says_and_a_token_goes_before_it() {
    let here = Site::start();
    let paul = here.grid.user("paul");
    let list = |curl: Curl| curl.method("PROPFIND").header("Depth", "0").run().status;
    assert_eq!(list(here.curl(&paul, "/elsewhere")), 403);
    assert_eq!(list(here.curl(&paul, "/elsewhere").token(Some(&here.site.token))), 404);
    assert_eq!(list(here.curl(&paul, "/grid").token(Some("nonsense"))), 401, "what is shown must be good");
    assert_eq!(list(here.site.stranger("/grid")), 401);
}

#[test]
fn chains_of_proxies_are_followed_as_far_as_each_allows() {
    let here = Site::start();
    let paul = here.grid.user("paul");
    let file = files::file(here.site.room(), "in", 1000, 1);
    let mut last = paul.clone();
    for depth in 1..=4 {
        last = here.grid.proxy(&format!("deep{depth}"), &last, Proxy::default());
    }
    let _ = here.curl(&last, "/grid/file").follow().upload(&file).run().expect(201);

    let none = Proxy { info: "language:id-ppl-inheritAll,pathlen:0", ..Proxy::default() };
    let first = here.grid.proxy("none-below", &paul, none);
    let _ = here.get(&first).expect(200);
    let second = here.grid.proxy("below-none", &first, Proxy::default());
    let text = here.refusal(&second);
    assert!(text.contains("allows fewer proxies below it"), "{text}");
}

#[test]
fn what_is_wrong_with_a_certificate_is_said() {
    let here = Site::start();
    let grid = &here.grid;
    let paul = grid.user("paul");
    let mary = grid.user("mary");
    let other_grid = Grid::new(&here.site.room().join("elsewhere"));
    let independent = Proxy { info: "language:id-ppl-independent", ..Proxy::default() };
    let other_name = Proxy { below: "/OU=x/CN=1234", ..Proxy::default() };
    let ended = ["-days", "-1"];
    let cases = [
        (grid.user_of_the_past("ended"), "/CN=ended has ended at 20"),
        (grid.proxy_with("ended-proxy", &paul, Proxy::default(), &ended), "/CN=1234567 has ended at 20"),
        (grid.self_signed("alone"), "no authority that this site trusts"),
        (other_grid.user("stranger"), "is not signed by /C=XX/O=Grid/CN=Users CA, although it says so"),
        (grid.issue("outside", "/C=XX/O=Others/CN=paul", &[]), "namespace"),
        (grid.issue("double", "/C=XX/O=Grid/CN=paul\\/CN=root", &[]), "mistaken for another"),
        (grid.proxy("independent", &paul, independent), "none of its owner's rights"),
        (grid.proxy("other-name", &paul, other_name), "its name is not its issuer's"),
        (grid.proxy("no-proxy", &paul, Proxy { info: "", ..Proxy::default() }), "may not sign certificates"),
    ];
    for (credential, expected) in cases {
        let text = here.refusal(&credential);
        assert!(text.contains(expected), "{expected}: {text}");
    }
    // All the while the others are served.
    assert_eq!(here.get(&mary).status, 404);
}

#[test]
fn who_is_revoked_is_out_once_the_list_is_there_with_all_proxies() {
    let here = Site::start();
    let (paul, mary) = (here.grid.user("paul"), here.grid.user("mary"));
    let proxy = here.grid.proxy("pauls-proxy", &paul, Proxy::default());
    assert_eq!(here.get(&proxy).status, 404);

    here.grid.revoke(&[&paul]);

    // Without a signal: the directory is looked at from time to time, as fetch-crl tells nobody.
    let text = eventually("the list counts", || {
        let answer = here.get(&proxy);
        (answer.status == 401).then(|| answer.text())
    });
    assert!(text.contains("was revoked by /C=XX/O=Grid/CN=Users CA"), "{text}");
    assert!(here.refusal(&paul).contains("was revoked"));
    assert_eq!(here.get(&mary).status, 404);
}

#[test]
fn authorities_that_cannot_be_read_are_not_used_and_the_old_ones_stay() {
    let here = Site::start();
    let paul = here.grid.user("paul");
    for entry in std::fs::read_dir(here.grid.trust()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    here.site.door.signal(rustix::process::Signal::HUP);
    eventually("the door says so", || {
        here.site.door.stderr().contains("the new authorities are not used").then_some(())
    });
    assert_eq!(here.get(&paul).status, 404);
}
