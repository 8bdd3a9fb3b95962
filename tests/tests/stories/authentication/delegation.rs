//! Proxies that users delegate to the door, with the programs that they have, and copies that are made with them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use penstock_tests::certificates::Identity;
use penstock_tests::curl::{Answer, Curl};
use penstock_tests::files;
use penstock_tests::grid::{Credential, Grid, Proxy};
use penstock_tests::patience::eventually;
use penstock_tests::remote::openssl::{self, Believing};
use penstock_tests::room::Room;
use penstock_tests::secure_site::{Plan, SecureSite};

const FILE_BYTES: u64 = 300_000;

/// A door with https and a pool, a user with a proxy, and a server that gives its file to nobody but such users.
struct Stage {
    site: SecureSite,
    far: Believing,
    original: Vec<u8>,
    /// What the user shows: a proxy, or the certificate itself.
    credential: Credential,
    /// Whom clients believe, as a directory.
    trust: PathBuf,
}

/// What a program said.
struct Said {
    good: bool,
    stdout: String,
    all: String,
}

impl Stage {
    fn new() -> Stage {
        let proxy = |grid: &Grid, alice: &Credential| grid.proxy("alice-proxy", alice, Proxy::default());
        Self::with(proxy, Believing::serving)
    }

    /// What the user shows is made by one function, the far side by the other.
    fn with(
        shown: impl FnOnce(&Grid, &Credential) -> Credential,
        far: impl FnOnce(&str, &[u8], &Identity, &Path) -> Believing,
    ) -> Stage {
        let room = Room::new();
        let grid = Grid::new(room.path());
        let credential = shown(&grid, &grid.user("alice"));
        let policy = room.join("policy.toml");
        let rules =
            "[[rules]]\ndn = \"/C=XX/O=Grid/CN=alice\"\nprefix = \"/\"\nrights = [\"modify\", \"read\"]\n";
        std::fs::write(&policy, rules).unwrap();
        let tables = format!(
            "[copy]\nallow_loopback = true\n[authentication]\nauthorities = \"{}\"\npolicy = \"{}\"\n",
            grid.trust().display(),
            policy.display()
        );
        // The site's own authority signs for the far side, too.
        let pool = format!(
            "tpc.allow_loopback = true\ntpc.ca = \"{}\"\n",
            room.join("site").join("ca.pem").display()
        );
        let users = std::fs::read_dir(grid.trust()).unwrap().flatten().map(|entry| entry.path());
        let users = users.into_iter().find(|path| path.extension().is_some_and(|end| end == "0")).unwrap();
        let site = Plan::new().tables(&tables).pool(&pool).start_in(room);
        let original = files::bytes(FILE_BYTES, 5);
        let far = far("theirs", &original, &site.authority.issue("far"), &users);
        let trust = site.room().join("trust-of-clients");
        std::fs::create_dir(&trust).unwrap();
        std::fs::copy(site.authority.certificate(), trust.join("site.pem")).unwrap();
        std::fs::copy(users, trust.join("users.pem")).unwrap();
        openssl::rehash(&trust);
        Stage { site, far, original, credential, trust }
    }

    /// Where the door tells clients to delegate.
    fn endpoint(&self) -> String {
        self.site.url("/gridsite-delegation")
    }

    /// curl with what the user shows.
    fn curl(&self, url: &str) -> Curl {
        Curl::new(url)
            .arg("--cacert")
            .arg(self.site.authority.certificate())
            .arg("--cert")
            .arg(&self.credential.file)
    }

    /// A copy of the far side's file, asked for at this URL of the door.
    fn copy(&self, url: &str) -> Answer {
        self.curl(url)
            .method("COPY")
            .header("Source", &self.far.url("theirs"))
            .header("RequireChecksumVerification", "false")
            .header("Copy-Flags", "NoHead")
            .run()
    }

    /// One of GridSite's programs at the door.
    fn gridsite(&self, program: &str, more: &[&str]) -> Said {
        let mut command = Command::new(program);
        command
            .arg("--cert")
            .arg(&self.credential.file)
            .arg("--key")
            .arg(&self.credential.file)
            .arg("--capath")
            .arg(&self.trust);
        run(command.args(more).arg(self.endpoint()), program)
    }

    /// davix, which delegates by itself when it is asked to.
    fn davix_copies(&self, path: &str) {
        let mut command = Command::new("davix-cp");
        command
            .args(["--retry", "0", "--timeout", "60", "--copy-mode", "pull", "--cert"])
            .arg(&self.credential.file)
            .arg("--capath")
            .arg(&self.trust)
            .args(["--header", "RequireChecksumVerification: false", "--header", "Copy-Flags: NoHead"])
            .arg(self.far.url("theirs"))
            .arg(self.site.url(path))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("X509_CERT_DIR", &self.trust);
        let said = run(&mut command, "davix-cp");
        assert!(said.good, "{}", said.all);
    }

    fn has(&self, path: &str) -> bool {
        self.site.curl(path).follow().run().expect(200).body == self.original
    }

    /// Nobody has written the delegated key down: neither told nor stored.
    fn tells_no_secret(&self) {
        let own = ["BEGIN PRIVATE KEY", "BEGIN RSA PRIVATE KEY"];
        for text in [self.site.door.stderr(), self.site.door.stdout(), self.site.pool.daemon.stderr()] {
            assert!(own.iter().all(|mark| !text.contains(mark)), "{text}");
        }
        for file in ["namespace.db", "namespace.db-wal"] {
            let bytes = std::fs::read(self.site.room().join(file)).unwrap_or_default();
            assert!(!bytes.windows(11).any(|window| window == b"PRIVATE KEY"), "{file}");
        }
        let root = self.site.pool.root();
        assert!(!contains_key(&root), "a key is below {}", root.display());
    }
}

/// Whether a file below holds a private key.
fn contains_key(directory: &Path) -> bool {
    std::fs::read_dir(directory).into_iter().flatten().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return contains_key(&path);
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        bytes.windows(11).any(|window| window == b"PRIVATE KEY")
    })
}

fn run(command: &mut Command, program: &str) -> Said {
    let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let all = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
    Said { good: output.status.success(), stdout, all }
}

#[test]
fn a_copy_asks_for_a_delegation_and_one_that_no_server_would_take_is_refused_and_said_to_be() {
    let stage = Stage::new();
    let url = stage.site.url("/ours");

    let asked = stage.copy(&url).expect(302);
    assert_eq!(asked.header("X-Delegate-To"), Some(stage.endpoint().as_str()));
    let location = asked.header("Location").unwrap().to_owned();
    assert!(location.starts_with(&format!("{url}?")), "{location}");
    let again = stage.copy(&location).expect(401);
    assert!(again.text().contains("delegate one to "), "{}", again.text());

    // Below a proxy of RFC 3820 Debian's program makes a certificate that is of neither kind. It closes without a look at
    // the answer.
    let put = stage.gridsite("htproxyput", &["--valid", "60"]);
    assert!(put.good, "{}", put.all);
    eventually("the door says why", || {
        let said = "the certificate is no proxy: it has no proxyCertInfo";
        stage.site.door.stderr().contains(said).then_some(())
    });
    assert!(!stage.gridsite("htproxytime", &["--delegation-id", put.stdout.trim()]).good);
    let _ = stage.copy(&location).expect(401);
    stage.tells_no_secret();
}

/// What the programs of gridsite-clients do with a delegation, from its beginning to its end, and a copy in between.
fn lives_through_gridsites_programs(stage: &Stage, shown: &str) {
    let put = stage.gridsite("htproxyput", &[]);
    assert!(put.good, "{}", put.all);
    let id = put.stdout.trim().to_owned();
    let ask = |program: &str| stage.gridsite(program, &["--delegation-id", &id]);
    // The programs close without a look at the answer, so that it may be a moment.
    let unix_time = || {
        let said = ask("htproxyunixtime");
        said.good.then(|| said.stdout.trim().parse::<u64>().unwrap_or_else(|_| panic!("{}", said.all)))
    };
    let first = eventually("the proxy is there", unix_time);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(first > now && first < now + 24 * 3600 + 600, "it ends at {first}, and it is {now}");
    let told = ask("htproxytime");
    assert!(told.good && told.stdout.contains("20"), "a date: {}", told.all);

    let markers = stage.copy(&stage.site.url("/ours")).expect(202);
    assert!(markers.text().contains("success: Created"), "{}", markers.text());
    assert!(stage.has("/ours"));
    // Its versions write names with and without these spaces.
    let seen = stage.far.daemon.stderr().replace(" = ", "=");
    assert!(seen.contains(shown), "the far side was shown {shown}: {seen}");

    // A proxy says its end in whole seconds: a later one is told from the first.
    std::thread::sleep(Duration::from_millis(1100));
    let renewed = ask("htproxyrenew");
    assert!(renewed.good, "{}", renewed.all);
    eventually("the later one has taken its place", || unix_time().filter(|later| *later > first));

    let destroyed = ask("htproxydestroy");
    assert!(destroyed.good, "{}", destroyed.all);
    eventually("it is gone", || (!ask("htproxyunixtime").good).then_some(()));
    let _ = stage.copy(&stage.site.url("/again")).expect(302);
    stage.tells_no_secret();
}

#[test]
fn gridsites_programs_delegate_ask_renew_and_destroy_with_the_certificate_itself() {
    let stage = Stage::with(|_, alice| alice.clone(), Believing::asking);
    lives_through_gridsites_programs(&stage, "CN=alice, CN=proxy");
}

#[test]
fn gridsites_programs_delegate_ask_renew_and_destroy_with_a_proxy_of_their_own_kind() {
    let old = |grid: &Grid, alice: &Credential| {
        grid.tool("grid-proxy-init", alice, &["-old", "-bits", "2048", "-valid", "20:00"])
    };
    let stage = Stage::with(old, Believing::asking);
    lives_through_gridsites_programs(&stage, "CN=alice, CN=proxy, CN=proxy");
}

#[test]
fn a_limited_proxy_delegates_nothing() {
    let limited = |grid: &Grid, alice: &Credential| {
        grid.tool("grid-proxy-init", alice, &["-old", "-limited", "-bits", "2048"])
    };
    let stage = Stage::with(limited, Believing::asking);
    let put = stage.gridsite("htproxyput", &[]);
    assert!(put.good, "{}", put.all);
    eventually("the door says why", || {
        stage.site.door.stderr().contains("or who has signed it, is limited").then_some(())
    });
    let _ = stage.copy(&stage.site.url("/ours")).expect(302);
}

#[test]
fn davix_delegates_by_itself_when_it_is_asked_to() {
    let stage = Stage::new();
    stage.davix_copies("/ours");
    assert!(stage.has("/ours"));
    stage.tells_no_secret();
}

#[test]
fn nothing_is_delegated_without_a_certificate_and_no_copy_shows_one_that_does_not_ask_for_it() {
    let stage = Stage::new();
    let question = "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Body>\
                    <d:getNewProxyReq xmlns:d='http://www.gridsite.org/namespaces/delegation-2'/></s:Body></s:Envelope>";
    let ask =
        |curl: Curl| curl.method("POST").header("Content-Type", "text/xml").arg("--data").arg(question).run();
    let stranger = ask(stage.site.stranger("/gridsite-delegation")).expect(401);
    assert!(
        stranger.text().contains("needs a connection by https with a client certificate"),
        "{}",
        stranger.text()
    );
    // A token is nobody's certificate.
    let _ = ask(stage.site.curl("/gridsite-delegation")).expect(401);
    let known = ask(stage.curl(&stage.endpoint())).expect(200);
    assert!(known.text().contains("-----BEGIN CERTIFICATE REQUEST-----"), "{}", known.text());

    // Delegated, and not shown where the client says "none".
    stage.davix_copies("/first");
    let copy = |curl: Curl, credential: &str| {
        curl.method("COPY").header("Source", &stage.far.url("theirs")).header("Credential", credential).run()
    };
    let none = copy(stage.curl(&stage.site.url("/ours")), "none").expect(202);
    assert!(none.text().contains("failure: "), "{}", none.text());
    let _ = copy(stage.site.curl("/ours"), "gridsite").expect(401);
    let _ = copy(stage.site.curl("/ours"), "oidc").expect(501);
    let _ = copy(stage.site.curl("/ours"), "wrong").expect(400);
}
