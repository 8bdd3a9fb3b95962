//! Proxies that users delegate to the door, with the programs that they have, and copies that are made with them.

use std::path::{Path, PathBuf};
use std::process::Command;

use penstock_tests::certificates::Authority;
use penstock_tests::curl::{Answer, Curl};
use penstock_tests::files;
use penstock_tests::pair::Pair;
use penstock_tests::ports;
use penstock_tests::proxies::{Believing, hashed, proxy};
use penstock_tests::room::Room;

const FILE_BYTES: usize = 300_000;

/// A door with https and a pool, a user with a proxy, and a server that gives its file to nobody but such users.
struct Stage {
    pair: Pair,
    far: Believing,
    original: Vec<u8>,
    /// `https://localhost:PORT` of the door.
    door: String,
    /// The user's proxy with its key.
    proxy: PathBuf,
    /// Whom clients believe.
    authority: PathBuf,
    /// The same as a directory.
    hashed: PathBuf,
    _room: Room,
}

/// What a program said.
struct Said {
    good: bool,
    stdout: String,
    all: String,
}

impl Stage {
    fn new() -> Stage {
        let room = Room::new();
        let authority = Authority::new(room.path(), "grid");
        let alice = authority.issue("alice");
        let proxy = proxy(room.path(), "alice", &alice);
        let original = files::bytes(FILE_BYTES as u64, 5);
        let far = Believing::serving("theirs", &original, &authority);
        let server = authority.issue("door");
        let [https] = ports::free();
        let ca = authority.certificate();
        let pair = Pair::start_with_door(
            &format!("tpc.allow_loopback = true\ntpc.ca = \"{}\"\n", ca.display()),
            &format!(
                "anonymous = \"write\"\n\
                 authentication.authorities = \"{}\"\n\
                 tls = {{ listen = \"{https}\", cert = \"{}\", key = \"{}\" }}\n",
                ca.display(),
                server.certificate.display(),
                server.key.display()
            ),
        );
        Stage {
            pair,
            far,
            original,
            door: format!("https://localhost:{}", https.port()),
            proxy,
            authority: ca,
            hashed: hashed(room.path(), &authority),
            _room: room,
        }
    }

    /// Where the door tells clients to delegate.
    fn endpoint(&self) -> String {
        format!("{}/gridsite-delegation", self.door)
    }

    /// curl with the proxy.
    fn curl(&self, url: &str) -> Curl {
        Curl::new(url).arg("--cacert").arg(&self.authority).arg("--cert").arg(&self.proxy)
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
            .arg(&self.proxy)
            .arg("--key")
            .arg(&self.proxy)
            .arg("--capath")
            .arg(&self.hashed);
        run(command.args(more).arg(self.endpoint()), program)
    }

    fn has(&self, path: &str) -> bool {
        self.pair.get(path).expect(200).body == self.original
    }

    /// Nobody has written the delegated key down.
    fn tells_no_secret(&self) {
        let own = std::fs::read_to_string(&self.proxy).unwrap();
        let secret = own.split("PRIVATE KEY-----").nth(1).unwrap().lines().nth(3).unwrap();
        for text in [self.pair.door.stderr(), self.pair.door.stdout(), self.pair.pool.daemon.stderr()] {
            assert!(!text.contains("PRIVATE KEY") && !text.contains(secret), "{text}");
        }
        assert!(!contains_key(self.pair.directory()), "a key is on the disk");
    }
}

/// Whether a file below holds a private key besides those that the daemons were given.
fn contains_key(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().flatten().any(|entry| {
        let path = entry.path();
        match path.is_dir() {
            true => contains_key(&path),
            false => {
                let bytes = std::fs::read(&path).unwrap_or_default();
                bytes.windows(12).any(|window| window == b"PRIVATE KEY-")
            }
        }
    })
}

fn run(command: &mut Command, program: &str) -> Said {
    let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let all = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
    Said { good: output.status.success(), stdout, all }
}

#[test]
fn a_copy_asks_for_a_delegation_uses_it_and_asks_again_when_it_is_destroyed() {
    let stage = Stage::new();
    let url = format!("{}/ours", stage.door);

    let asked = stage.copy(&url).expect(302);
    assert_eq!(asked.header("X-Delegate-To"), Some(stage.endpoint().as_str()));
    let location = asked.header("Location").unwrap().to_owned();
    assert!(location.starts_with(&format!("{url}?")), "{location}");
    let again = stage.copy(&location).expect(401);
    assert!(again.text().contains("delegate one to "), "{}", again.text());

    let put = stage.gridsite("htproxyput", &["--valid", "60"]);
    assert!(put.good, "{}", put.all);
    let id = put.stdout.trim().to_owned();
    let time = stage.gridsite("htproxyunixtime", &["--delegation-id", &id]);
    let until: i64 = time.stdout.trim().parse().unwrap_or_else(|_| panic!("no time: {}", time.all));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    assert!((1..=61 * 60).contains(&(until - now)), "it is good for {} s", until - now);

    let copied = stage.copy(&location).expect(202);
    assert!(copied.text().ends_with("success: Created\n"), "{}", copied.text());
    assert!(stage.has("/ours"));
    // The far side has seen the whole chain: the delegated proxy, the user's own, the user, the authority.
    assert!(stage.far.daemon.stderr().contains("depth=3"), "{}", stage.far.daemon.stderr());

    let renewed = stage.gridsite("htproxyrenew", &["--delegation-id", &id]);
    assert!(renewed.good, "{}", renewed.all);
    assert!(stage.copy(&url).expect(202).text().ends_with("success: Created\n"));

    let destroyed = stage.gridsite("htproxydestroy", &["--delegation-id", &id]);
    assert!(destroyed.good, "{}", destroyed.all);
    let _ = stage.copy(&url).expect(302);
    assert!(!stage.gridsite("htproxytime", &["--delegation-id", &id]).good);
    stage.tells_no_secret();
}

#[test]
fn davix_delegates_by_itself_when_it_is_asked_to() {
    let stage = Stage::new();
    let mut command = Command::new("davix-cp");
    command
        .args(["--retry", "0", "--timeout", "60", "--copy-mode", "pull", "--cert"])
        .arg(&stage.proxy)
        .arg("--capath")
        .arg(&stage.hashed)
        .args(["--header", "RequireChecksumVerification: false", "--header", "Copy-Flags: NoHead"])
        .arg(stage.far.url("theirs"))
        .arg(format!("{}/ours", stage.door))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("X509_CERT_DIR", &stage.hashed);
    let said = run(&mut command, "davix-cp");
    assert!(said.good, "{}", said.all);
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
    let stranger = Curl::new(stage.endpoint()).arg("--cacert").arg(&stage.authority);
    assert!(
        ask(stranger).expect(401).text().contains("needs a connection by https with a client certificate")
    );
    let _ = ask(stage.pair.curl("/gridsite-delegation")).expect(401);
    let known = ask(stage.curl(&stage.endpoint())).expect(200);
    assert!(known.text().contains("-----BEGIN CERTIFICATE REQUEST-----"), "{}", known.text());

    // Delegated, and not shown where the client says "none", as a certificate or by whom it likes.
    assert!(stage.gridsite("htproxyput", &[]).good);
    let copy = |curl: Curl, credential: &str| {
        curl.method("COPY").header("Source", &stage.far.url("theirs")).header("Credential", credential).run()
    };
    let none = copy(stage.curl(&format!("{}/ours", stage.door)), "none").expect(202);
    assert!(none.text().contains("failure: "), "{}", none.text());
    // By a token nobody's certificate is there to be used.
    let _ = copy(stage.pair.curl("/ours"), "gridsite").expect(401);
    let _ = copy(stage.pair.curl("/ours"), "oidc").expect(501);
    let _ = copy(stage.pair.curl("/ours"), "wrong").expect(400);
}
