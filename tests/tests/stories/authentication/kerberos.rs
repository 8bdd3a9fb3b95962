//! Kerberos with MIT's own KDC, kinit and curl. Run by `.ci/kerberos`, with a door that was built with the feature.

use penstock_tests::curl::{Answer, Curl};
use penstock_tests::files::{self, MIB};
use penstock_tests::kerberos::{REALM, Realm};
use penstock_tests::room::Room;
use penstock_tests::secure_site::Plan;

#[test]
#[ignore = "needs a door with the feature kerberos: .ci/kerberos runs it"]
fn a_user_with_a_ticket_may_what_the_policy_gives_to_the_principal() {
    let realm = Realm::start("alice");
    let room = Room::new();
    let policy = room.join("policy.toml");
    let rules = format!(
        "[[rules]]\nuser = \"alice@{REALM}\"\nprefix = \"/home/alice\"\nrights = [\"modify\", \"read\"]\n"
    );
    std::fs::write(&policy, rules).unwrap();
    let tables =
        format!("[authentication]\nkerberos = \"HTTP@localhost\"\npolicy = \"{}\"\n", policy.display());
    let site = Plan::new().tables(&tables).environment(realm.environment()).start_in(room);
    let file = files::file(site.room(), "in", MIB, 1);
    let negotiate = |path: &str| {
        let curl = site.stranger(path).arg("--negotiate").arg("--user").arg(":");
        realm.environment().into_iter().fold(curl, |curl, (name, value)| curl.environment(name, &value))
    };
    let put = |curl: Curl| -> Answer { curl.follow().header("Expect", "").upload(&file).run() };

    let without = put(negotiate("/home/alice/file")).expect(401);
    let offered: Vec<_> = without.heads.iter().filter_map(|head| head.header("WWW-Authenticate")).collect();
    assert!(!offered.is_empty());

    realm.kinit("alice");
    let _ = put(negotiate("/home/alice/file")).expect(201);
    let got = negotiate("/home/alice/file").follow().run().expect(200);
    assert!(got.body == std::fs::read(&file).unwrap());
    let _ = put(negotiate("/home/bob/file")).expect(403);

    realm.kdestroy();
    let _ = negotiate("/home/alice/file").follow().run().expect(401);
    let nonsense = site.stranger("/home/alice/file").header("Authorization", "Negotiate bm9uc2Vuc2U=").run();
    assert!(nonsense.expect(401).text().contains("Kerberos"));
    let _ = site.stranger("/home/alice/file").header("Authorization", "Negotiate ???").run().expect(400);
}
