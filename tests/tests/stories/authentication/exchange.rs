//! Tokens that the door gets for its users' tokens, for copies: from an issuer that grants, refuses, is away, is slow; and
//! a copy that outlives its token.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use penstock_tests::curl::{Answer, Curl};
use penstock_tests::files;
use penstock_tests::issuer::{CLIENT, Exchange, Issuer};
use penstock_tests::patience::eventually;
use penstock_tests::remote::scripted::Scripted;
use penstock_tests::room::Room;
use penstock_tests::secure_site::{Plan, SecureSite};

use super::WHOLE_VO;

const FILE_BYTES: u64 = 200_000;
/// What an issuer that says nothing costs a client at most: the door's patience, and a busy machine.
const LONGEST_ANSWER: Duration = Duration::from_secs(15);

/// A site that exchanges tokens with an issuer, and a far side that gives its file for a granted token.
struct Stage {
    issuer: Issuer,
    site: SecureSite,
    far: Scripted,
    /// A user's.
    token: String,
    original: Vec<u8>,
}

impl Stage {
    /// `script`: the status with which the far side answers whoever shows it that `Authorization`.
    fn new(script: impl Fn(&str) -> u16 + Send + Sync + 'static) -> Stage {
        Self::with("", script)
    }

    /// With more lines in the pool's configuration.
    fn with(pool: &str, script: impl Fn(&str) -> u16 + Send + Sync + 'static) -> Stage {
        let issuer = Issuer::start();
        let room = Room::new();
        let (policy, client) = (room.join("policy.toml"), room.join("client"));
        fs::write(&policy, WHOLE_VO.replace("ISSUER", issuer.url())).unwrap();
        fs::write(&client, CLIENT.replace(':', "\n")).unwrap();
        fs::set_permissions(&client, fs::Permissions::from_mode(0o600)).unwrap();
        let tables = format!(
            "[copy]\nallow_loopback = true\n[authentication]\npolicy = \"{}\"\nissuer_authorities = \"{}\"\n\
             [[authentication.issuers]]\nurl = \"{url}\"\nprefix = \"/vo\"\n\
             [[delegation.exchange]]\nissuer = \"{url}\"\nclient = \"{}\"\naudience = \"far\"\n",
            policy.display(),
            issuer.authority().display(),
            client.display(),
            url = issuer.url(),
        );
        let site =
            Plan::new().tables(&tables).pool(&format!("tpc.allow_loopback = true\n{pool}")).start_in(room);
        let original = files::bytes(FILE_BYTES, 9);
        let bytes = original.clone();
        let far = Scripted::start(move |request, line| {
            let lines = request.head.lines().filter_map(|line| line.split_once(": "));
            let mut shown = lines.filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
            let status = script(shown.next().map_or("", |(_, value)| value));
            let body = if status == 200 { bytes.as_slice() } else { &[] };
            line.say(format!(
                "HTTP/1.1 {status} As told\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            ));
            line.say(body);
        });
        let token = issuer.scoped("storage.read:/ storage.modify:/");
        let stage = Stage { issuer, site, far, token, original };
        // The issuer's keys are known from here on.
        assert_eq!(stage.site.stranger("/vo").token(Some(&stage.token)).method("MKCOL").run().status, 201);
        stage
    }

    fn copying(&self, path: &str) -> Curl {
        self.site
            .stranger(path)
            .token(Some(&self.token))
            .method("COPY")
            .header("Source", &self.far.url("/theirs"))
            .header("RequireChecksumVerification", "false")
            .header("Copy-Flags", "NoHead")
    }

    fn copy(&self, path: &str) -> Answer {
        self.copying(path).run()
    }

    /// Panics unless it was copied.
    fn copies(&self, path: &str) {
        let answer = self.copy(path).expect(202);
        assert!(answer.text().contains("success: Created"), "{}", answer.text());
        let stored = self.site.stranger(path).token(Some(&self.token)).follow().run().expect(200);
        assert!(stored.body == self.original, "{path} is not what the far side has");
    }

    /// The user's token, and those that were got for it, were shown where they belong and written nowhere.
    fn tells_no_token(&self) {
        let end = &self.token[self.token.len() - 40..];
        for text in [self.site.door.stderr(), self.site.door.stdout(), self.site.pool.daemon.stderr()] {
            for secret in [end, "granted-", "refresh-", "s3cret"] {
                assert!(!text.contains(secret), "{secret}: {text}");
            }
        }
        assert!(
            self.far.requests().iter().all(|request| !request.head.contains(end)),
            "it went to the far side"
        );
    }
}

fn only_granted(shown: &str) -> u16 {
    if shown.starts_with("Bearer granted-") { 200 } else { 401 }
}

#[test]
fn a_copy_shows_the_token_that_the_issuer_has_granted_and_the_next_copy_the_same() {
    let stage = Stage::new(only_granted);
    stage.issuer.exchange(Exchange::Grant { seconds: 3600, refreshable: false });

    stage.copies("/vo/one");
    stage.copies("/vo/two");

    assert_eq!(stage.issuer.questions(), ["token-exchange far"], "it was asked once, for the far side");
    // Who brings a credential of their own, or wants none, has it so.
    let none = stage.copying("/vo/three").header("Credential", "none").run().expect(202);
    assert!(none.text().contains("failure: rejected GET: 401"), "{}", none.text());
    let own = stage.copying("/vo/four").header("TransferHeaderAuthorization", "Bearer own").run().expect(202);
    assert!(own.text().contains("failure: rejected GET: 401"), "{}", own.text());
    assert_eq!(stage.issuer.questions().len(), 1);
    stage.tells_no_token();
}

#[test]
fn what_the_issuer_refuses_is_told_by_its_code_and_the_far_side_is_not_asked() {
    let stage = Stage::new(only_granted);
    stage.issuer.exchange(Exchange::Refuse("invalid_target"));

    let refused = stage.copy("/vo/one").expect(502);

    let text = refused.text();
    assert!(text.contains("refuses (400 Bad Request, \"invalid_target\")"), "{text}");
    assert!(!text.contains("not to be shown"), "{text}");
    assert!(stage.far.requests().is_empty());
    assert_eq!(stage.site.stranger("/vo/one").token(Some(&stage.token)).head().run().status, 404);
    // A refusal is not kept.
    stage.issuer.exchange(Exchange::Grant { seconds: 3600, refreshable: false });
    stage.copies("/vo/one");
    stage.tells_no_token();
}

#[test]
fn while_the_issuer_is_away_copies_wait_for_nothing_and_those_with_a_token_go_on() {
    let mut stage = Stage::new(only_granted);
    stage.issuer.exchange(Exchange::Grant { seconds: 3600, refreshable: false });
    stage.issuer.stop();

    let refused = stage.copy("/vo/one").expect(502);

    assert!(refused.text().contains("cannot be asked"), "{}", refused.text());
    assert!(stage.far.requests().is_empty());
    stage.issuer.restart();
    stage.copies("/vo/one");
    stage.issuer.stop();
    stage.copies("/vo/two");
    stage.tells_no_token();
}

#[test]
fn a_slow_issuer_is_waited_for_a_silent_one_is_given_up_and_keeps_up_nobody_else() {
    let stage = Stage::new(only_granted);
    stage.issuer.exchange(Exchange::Late(30));
    let began = Instant::now();
    let silent = stage.copying("/vo/one").start();
    let others = Instant::now();
    assert_eq!(stage.site.stranger("/vo/x").token(Some(&stage.token)).method("MKCOL").run().status, 201);
    assert!(others.elapsed() < Duration::from_secs(5), "{:?}", others.elapsed());
    let refused = silent.wait().expect(502);
    assert!(began.elapsed() < LONGEST_ANSWER, "{:?}", began.elapsed());
    assert!(refused.text().contains("no whole answer in time"), "{}", refused.text());

    stage.issuer.exchange(Exchange::Late(2));
    stage.copies("/vo/one");
    stage.tells_no_token();
}

/// A far side that is not ready yet (202) for as long as it is shown the first token.
fn only_later_ones(shown: &str) -> u16 {
    match shown {
        "Bearer granted-1" => 202,
        later if later.starts_with("Bearer granted-") => 200,
        _ => 401,
    }
}

#[test]
fn a_copy_that_is_longer_than_its_token_shows_a_later_one() {
    for (refreshable, second) in [(false, "token-exchange far"), (true, "refresh_token -")] {
        let stage = Stage::new(only_later_ones);
        stage.issuer.exchange(Exchange::Grant { seconds: 4, refreshable });

        stage.copies("/vo/one");

        let questions = stage.issuer.questions();
        assert_eq!(questions[..2], ["token-exchange far", second]);
        let shown: Vec<bool> = stage
            .far
            .requests()
            .iter()
            .map(|request| request.head.contains("Bearer granted-1\r\n"))
            .collect();
        assert_eq!(shown, [true, false], "the first token, then a later one");
        stage.tells_no_token();
    }
}

#[test]
fn a_copy_that_waits_for_its_turn_for_longer_than_its_token_lives_begins_with_a_later_one() {
    let asked = AtomicU32::new(0);
    let one_place = "queues = [{ name = \"default\", max_running = 1, max_waiting = 10 }]\n";
    let stage = Stage::with(one_place, move |shown| match shown {
        // The copy in front is not ready for five seconds.
        "Bearer front" if asked.fetch_add(1, Ordering::SeqCst) == 0 => 202,
        "Bearer granted-1" => 401,
        _ => 200,
    });
    stage.issuer.exchange(Exchange::Grant { seconds: 4, refreshable: false });
    let front = stage.copying("/vo/front").header("TransferHeaderAuthorization", "Bearer front").start();
    eventually("the copy in front runs", || (!stage.far.requests().is_empty()).then_some(()));

    stage.copies("/vo/behind");

    assert!(front.wait().expect(202).text().contains("success: Created"));
    assert!(stage.issuer.questions().len() >= 2, "{:?}", stage.issuer.questions());
    assert!(stage.far.requests().iter().all(|request| !request.head.contains("Bearer granted-1\r\n")));
    stage.tells_no_token();
}

#[test]
fn a_copy_whose_token_cannot_be_renewed_shows_none_that_has_ended_and_the_log_says_why() {
    let asked = AtomicU32::new(0);
    // Not ready at first. When it is to be asked again the token has ended, and is shown to nobody any more.
    let stage = Stage::new(move |_| if asked.fetch_add(1, Ordering::SeqCst) == 0 { 202 } else { 401 });
    stage.issuer.exchange(Exchange::Grant { seconds: 4, refreshable: false });
    let copying = stage.copying("/vo/one").start();
    eventually("the far side was asked", || (!stage.far.requests().is_empty()).then_some(()));
    stage.issuer.exchange(Exchange::Refuse("invalid_grant"));

    let answer = copying.wait().expect(202);

    assert!(
        answer.text().contains("failure: no GET: the token for this copy ended at "),
        "{}",
        answer.text()
    );
    assert_eq!(stage.far.requests().len(), 1);
    let log = stage.site.door.stderr();
    assert!(log.contains("the token of a copy was not renewed") && log.contains("invalid_grant"), "{log}");
    assert_eq!(stage.issuer.questions().len(), 2, "asked for the copy, and once for a later one");
    stage.tells_no_token();
}
