//! Kerberos with MIT's own KDC, kinit, curl and the client's side of its library. Run by `.ci/kerberos`, with a door that was
//! built with the feature.

use std::time::Duration;

use penstock_tests::curl::{Answer, Curl};
use penstock_tests::files::{self, MIB};
use penstock_tests::kerberos::{REALM, Realm};
use penstock_tests::patience::eventually;
use penstock_tests::room::Room;
use penstock_tests::secure_site::{Plan, SecureSite};

const FILE: &str = "/home/alice/file";

/// A realm with a user, and a door whose policy gives `/home/alice` to her principal.
struct Stage {
    realm: Realm,
    site: SecureSite,
}

impl Stage {
    fn new() -> Stage {
        let realm = Realm::start("alice");
        let room = Room::new();
        let policy = room.join("policy.toml");
        let rules = format!(
            "[[rules]]\nuser = \"alice@{REALM}\"\nprefix = \"/home/alice\"\nrights = [\"modify\", \"read\"]\n"
        );
        std::fs::write(&policy, rules).unwrap();
        let tables =
            format!("[authentication]\nkerberos = \"HTTP@localhost\"\npolicy = \"{}\"\n", policy.display());
        let site = Plan::new().plain().tables(&tables).environment(realm.environment()).start_in(room);
        Stage { realm, site }
    }

    /// curl as users of Kerberos call it.
    fn negotiate(&self, path: &str) -> Curl {
        let curl = self.site.stranger(path).arg("--negotiate").arg("--user").arg(":");
        self.realm.environment().into_iter().fold(curl, |curl, (name, value)| curl.environment(name, &value))
    }

    fn put(&self, path: &str) -> Answer {
        let file = files::file(self.site.room(), "in", MIB, 1);
        self.negotiate(path).follow().header("Expect", "").upload(&file).run()
    }
}

#[test]
#[ignore = "needs a door with the feature kerberos: .ci/kerberos runs it"]
fn a_user_with_a_ticket_may_what_the_policy_gives_to_the_principal() {
    let stage = Stage::new();

    let without = stage.put(FILE).expect(401);
    let heads = without.heads.iter().flat_map(|head| head.headers("WWW-Authenticate"));
    let offered: Vec<_> = heads.collect();
    assert!(offered.contains(&"Negotiate"), "{offered:?}");

    stage.realm.kinit("alice");
    let _ = stage.put(FILE).expect(201);
    let got = stage.negotiate(FILE).follow().run().expect(200);
    assert!(got.body == std::fs::read(stage.site.room().join("in")).unwrap());
    let _ = stage.put("/home/bob/file").expect(403);

    stage.realm.kdestroy();
    let _ = stage.negotiate(FILE).follow().run().expect(401);
}

#[test]
#[ignore = "needs a door with the feature kerberos: .ci/kerberos runs it"]
fn what_is_no_ticket_is_refused_and_over_plain_http_so_is_what_is_one() {
    let stage = Stage::new();
    let show = |value: &str| stage.site.stranger(FILE).header("Authorization", value).run();
    assert!(show("Negotiate bm9uc2Vuc2U=").expect(401).text().contains("Kerberos"));
    let _ = show("Negotiate ???").expect(400);
    // The first token of NTLM, for which there would be a second round.
    let _ = show("Negotiate TlRMTVNTUAABAAAAB4IIogAAAAAAAAAAAAAAAAAAAAA=").expect(401);
    stage.realm.kinit("alice");
    let plain = Curl::new(format!("http://{}{FILE}", stage.site.plain_address()));
    let plain = plain.header("Authorization", "Negotiate bm9uc2Vuc2U=").run().expect(403);
    assert!(plain.text().contains("a Kerberos ticket was sent unencrypted"), "{}", plain.text());
    assert!(plain.heads.iter().all(|head| !head.headers("WWW-Authenticate").contains(&"Negotiate")));
}

#[test]
#[ignore = "needs a door with the feature kerberos: .ci/kerberos runs it"]
fn the_door_proves_itself_to_clients_that_want_it_and_takes_no_token_twice() {
    let stage = Stage::new();
    stage.realm.kinit("alice");
    let _ = stage.put(FILE).expect(201);

    let url = format!("https://localhost:{}{FILE}", stage.site.tls_address().port());
    let seen = stage.realm.present_twice(&url, &stage.site.authority.certificate());

    assert_eq!(seen, ["207", "proved", "401"]);
    eventually("the log says why", || stage.site.door.stderr().contains("replay").then_some(()));
}

#[test]
#[ignore = "needs a door with the feature kerberos: .ci/kerberos runs it"]
fn a_ticket_that_has_ended_gets_nobody_in() {
    let stage = Stage::new();
    stage.realm.kinit_for("alice", "5s");
    let _ = stage.put(FILE).expect(201);
    // The lifetime itself is what is waited for.
    std::thread::sleep(Duration::from_secs(6));
    let _ = stage.negotiate(FILE).follow().run().expect(401);
    stage.realm.kinit("alice");
    let _ = stage.negotiate(FILE).follow().run().expect(200);
}

#[test]
#[ignore = "needs a door with the feature kerberos: .ci/kerberos runs it"]
fn a_door_with_old_keys_says_so_in_its_log_and_takes_tickets_again_once_the_new_ones_are_there() {
    let stage = Stage::new();
    let elsewhere = stage.site.room().join("new.keytab");
    stage.realm.change_keys(&elsewhere);
    stage.realm.kinit("alice");

    let refused = stage.put(FILE).expect(401);
    assert!(refused.text().contains("the Kerberos ticket is not accepted"), "{}", refused.text());
    eventually("the log says why", || {
        stage.site.door.stderr().contains("a Kerberos ticket is refused").then_some(())
    });

    std::fs::copy(&elsewhere, stage.realm.keytab()).unwrap();
    let _ = stage.put(FILE).expect(201);
}

#[test]
#[ignore = "needs a door with the feature kerberos: .ci/kerberos runs it"]
fn a_door_whose_keytab_has_no_keys_for_it_does_not_start() {
    let stage = Stage::new();
    let config = stage.site.config();
    let other = std::fs::read_to_string(&config).unwrap().replace("HTTP@localhost", "HTTP@elsewhere.invalid");
    let path = stage.site.room().join("other.toml");
    std::fs::write(&path, other).unwrap();
    let mut command = std::process::Command::new(penstock_tests::binaries::binary("penstock-door"));
    let output = command.arg("--config").arg(&path).envs(stage.realm.environment()).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no keys for HTTP@elsewhere.invalid in the keytab"), "{said}");
}
