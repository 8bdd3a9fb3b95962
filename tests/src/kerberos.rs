//! A Kerberos realm of its own: MIT's KDC on a free port, with a user and a service at `localhost`.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::daemon::Daemon;
use crate::patience::eventually;
use crate::ports;
use crate::room::Room;

/// The realm.
pub const REALM: &str = "STORY.EXAMPLE.ORG";
const PASSWORD: &str = "far-too-simple";

/// The longest life of a ticket.
const MAX_LIFE: &str = "1h";

/// Asks with a token of SPNEGO, gives the library what comes back, and asks with the same token again.
const PRESENT_TWICE: &str = r#"
import base64, gssapi, http.client, ssl, sys, urllib.parse
url, authority = urllib.parse.urlsplit(sys.argv[1]), sys.argv[2]
service = gssapi.Name("HTTP@" + url.hostname, gssapi.NameType.hostbased_service)
client = gssapi.SecurityContext(name=service, mech=gssapi.OID.from_int_seq("1.3.6.1.5.5.2"), usage="initiate",
                                flags=gssapi.RequirementFlag.mutual_authentication)
token = base64.b64encode(client.step()).decode()
def ask():
    connection = http.client.HTTPSConnection(url.netloc, context=ssl.create_default_context(cafile=authority))
    connection.request("PROPFIND", url.path, headers={"Authorization": "Negotiate " + token, "Depth": "0"})
    answer = connection.getresponse()
    return answer.status, answer.getheader("WWW-Authenticate") or ""
status, challenge = ask()
print(status)
scheme, _, proof = challenge.partition(" ")
if scheme == "Negotiate" and proof:
    client.step(base64.b64decode(proof))
print("proved" if client.complete else "not proved")
print(ask()[0])
"#;

/// A running realm.
pub struct Realm {
    /// Its KDC.
    pub kdc: Daemon,
    room: Room,
}

impl Realm {
    /// Starts one, with that user and the keys of `HTTP/localhost` in [`Realm::keytab`].
    #[must_use]
    pub fn start(user: &str) -> Realm {
        let room = Room::new();
        let [address] = ports::free();
        let port = address.port();
        let place = room.path().display();
        fs::write(
            room.join("krb5.conf"),
            format!(
                "[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n \
                 dns_canonicalize_hostname = false\n rdns = false\n udp_preference_limit = 1\n\
                 [realms]\n {REALM} = {{\n  kdc = 127.0.0.1:{port}\n }}\n\
                 [domain_realm]\n localhost = {REALM}\n"
            ),
        )
        .expect("the room can be written");
        fs::write(
            room.join("kdc.conf"),
            format!(
                "[kdcdefaults]\n kdc_listen = 127.0.0.1:{port}\n kdc_tcp_listen = 127.0.0.1:{port}\n\
                 [realms]\n {REALM} = {{\n  database_name = {place}/principal\n  key_stash_file = {place}/stash\n  \
                 max_life = {MAX_LIFE}\n }}\n[logging]\n kdc = STDERR\n"
            ),
        )
        .expect("the room can be written");
        run(room.path(), "kdb5_util", &["create", "-s", "-r", REALM, "-P", "master"]);
        let keytab = room.join("keytab");
        for query in [
            format!("addprinc -pw {PASSWORD} {user}"),
            "addprinc -randkey HTTP/localhost".to_owned(),
            format!("ktadd -k {} HTTP/localhost", keytab.display()),
        ] {
            run(room.path(), "kadmin.local", &["-r", REALM, "-q", &query]);
        }
        let mut command = Command::new(program("krb5kdc"));
        environment(&mut command, room.path());
        command.args(["-n", "-r", REALM]);
        let mut kdc = Daemon::spawn("krb5kdc (Debian: apt-get install krb5-kdc)", &mut command);
        eventually("the KDC listens", || {
            assert!(kdc.runs(), "krb5kdc ended: {}", kdc.stderr());
            std::net::TcpStream::connect(address).ok().map(drop)
        });
        Realm { kdc, room }
    }

    /// The keys of the service.
    #[must_use]
    pub fn keytab(&self) -> PathBuf {
        self.room.join("keytab")
    }

    /// The user gets a ticket, as by `kinit`.
    pub fn kinit(&self, user: &str) {
        self.kinit_for(user, MAX_LIFE);
    }

    /// The user gets a ticket that lives for so long (`kinit -l`).
    pub fn kinit_for(&self, user: &str, life: &str) {
        let mut command = Command::new("kinit");
        environment(&mut command, self.room.path());
        let mut child = command
            .args(["-l", life, user])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("kinit runs (Debian: apt-get install krb5-user)");
        let mut stdin = child.stdin.take().expect("it is piped");
        writeln!(stdin, "{PASSWORD}").expect("kinit reads the password");
        drop(stdin);
        assert!(child.wait().expect("kinit ends").success(), "kinit was refused: {}", self.kdc.stderr());
    }

    /// The service gets new keys, which are written to this keytab; the old ones open no new ticket.
    pub fn change_keys(&self, keytab: &Path) {
        let query = format!("ktadd -k {} HTTP/localhost", keytab.display());
        run(self.room.path(), "kadmin.local", &["-r", REALM, "-q", &query]);
    }

    /// A client that wants the server proved: sends one Negotiate token twice. What it saw, a line each: the first answer's
    /// status, whether what came with it proves the server to MIT's library, and the second answer's status.
    #[must_use]
    pub fn present_twice(&self, url: &str, authority: &Path) -> Vec<String> {
        // Debian's, whatever else stands before it in PATH: its packages are there.
        let mut command = Command::new("/usr/bin/python3");
        environment(&mut command, self.room.path());
        let output = command.args(["-c", PRESENT_TWICE, url]).arg(authority).output();
        let output = output.expect("python3 runs (Debian: python3-gssapi)");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// The user's tickets are thrown away.
    pub fn kdestroy(&self) {
        run(self.room.path(), "kdestroy", &[]);
    }

    /// What programs of this realm find in their environment.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        variables(self.room.path())
    }
}

fn variables(room: &Path) -> Vec<(&'static str, PathBuf)> {
    vec![
        ("KRB5_CONFIG", room.join("krb5.conf")),
        ("KRB5_KDC_PROFILE", room.join("kdc.conf")),
        ("KRB5CCNAME", room.join("tickets")),
        ("KRB5_KTNAME", room.join("keytab")),
        // Where tickets that were seen are remembered.
        ("KRB5RCACHEDIR", room.to_owned()),
    ]
}

fn environment(command: &mut Command, room: &Path) {
    command.envs(variables(room));
}

/// Not everybody's PATH leads to where distributions keep these.
fn program(name: &str) -> PathBuf {
    let usual = Path::new("/usr/sbin").join(name);
    if usual.is_file() { usual } else { name.into() }
}

fn run(room: &Path, name: &str, arguments: &[&str]) {
    let mut command = Command::new(program(name));
    environment(&mut command, room);
    let output = command.args(arguments).output();
    let output = output
        .unwrap_or_else(|error| panic!("{name} (Debian: krb5-kdc, krb5-admin-server, krb5-user): {error}"));
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}
