//! An issuer of tokens: a server over https that publishes its keys, and tokens that PyJWT signs with them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::certificates::Authority;
use crate::daemon::Daemon;
use crate::room::Room;

/// Makes a key, and the documents that an issuer publishes.
const PREPARE: &str = r#"
import base64, json, sys
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives import serialization as form
folder, kid = sys.argv[1:]
key = ec.generate_private_key(ec.SECP256R1())
pem = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
open(f"{folder}/{kid}.pem", "wb").write(pem)
point = key.public_key().public_numbers()
text = lambda number: base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()
jwk = {"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "x": text(point.x), "y": text(point.y)}
json.dump({"keys": [jwk]}, open(f"{folder}/www/jwks", "w"))
"#;

/// Serves a folder over https; says where, and each path that it is asked for.
const SERVE: &str = r#"
import http.server, os, ssl, sys
folder, certificate, key = sys.argv[1:]
class Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *words): super().__init__(*words, directory=folder)
    def log_message(self, *words): print("asked for", self.path, flush=True)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print("port", server.server_port, flush=True)
server.serve_forever()
"#;

/// Signs each of the claims that come as JSON on a line.
const SIGN: &str = r#"
import json, sys, jwt
pem, kid, claims = sys.argv[1:]
key = open(pem).read()
for each in json.loads(claims):
    print(jwt.encode(each, key, algorithm="ES256", headers={"kid": kid}))
"#;

/// An issuer of the WLCG profile.
pub struct Issuer {
    server: Daemon,
    url: String,
    key_id: String,
    authority: Authority,
    room: Room,
}

fn python(program: &str) -> Command {
    // Debian's, whatever else stands before it in PATH: its packages are there.
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", program]);
    command
}

fn run(mut command: Command) -> String {
    let output = command.output().expect("python3 runs (Debian: python3-jwt, python3-cryptography)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Issuer {
    /// One that serves.
    #[must_use]
    pub fn start() -> Issuer {
        let room = Room::new();
        let authority = Authority::new(room.path(), "issuers");
        let identity = authority.issue("issuer");
        fs::create_dir_all(room.join("www/.well-known")).expect("the room can be written");
        let mut command = python(SERVE);
        command.arg(room.join("www")).args([&identity.certificate, &identity.key]);
        let mut server = Daemon::spawn("issuer", &mut command);
        let port = server.line("port ").trim_start_matches("port ").trim().to_owned();
        let url = format!("https://localhost:{port}");
        let description = json!({ "issuer": url, "jwks_uri": format!("{url}/jwks") });
        fs::write(room.join("www/.well-known/openid-configuration"), description.to_string())
            .expect("the room can be written");
        let mut issuer = Issuer { server, url, key_id: String::new(), authority, room };
        issuer.change_key("key1");
        issuer
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The authority of its server.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.authority.certificate()
    }

    /// From now on it has another key, and publishes that only.
    pub fn change_key(&mut self, key_id: &str) {
        let mut command = python(PREPARE);
        command.arg(self.room.path()).arg(key_id);
        run(command);
        self.key_id = key_id.to_owned();
    }

    /// How often it was asked for a path.
    #[must_use]
    pub fn asked_for(&self, path: &str) -> usize {
        self.server.stdout().lines().filter(|line| *line == format!("asked for {path}")).count()
    }

    /// It is away from now on.
    pub fn stop(&mut self) {
        self.server.terminate();
        let _ = self.server.ended();
    }

    /// Claims of a good token, with some of them changed; null takes one away.
    #[must_use]
    pub fn claims(&self, changes: Value) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let mut claims = json!({
            "iss": self.url, "sub": "alice", "aud": "https://wlcg.cern.ch/jwt/v1/any", "wlcg.ver": "1.0",
            "iat": now, "nbf": now, "exp": now + 600, "jti": "token-1",
        });
        let fields = claims.as_object_mut().expect("it is one");
        for (name, value) in changes.as_object().expect("changes are an object") {
            match value {
                Value::Null => fields.remove(name),
                value => fields.insert(name.clone(), value.clone()),
            };
        }
        claims
    }

    /// Tokens with these changes.
    #[must_use]
    pub fn tokens(&self, changes: &[Value]) -> Vec<String> {
        let claims: Vec<Value> = changes.iter().map(|changes| self.claims(changes.clone())).collect();
        let mut command = python(SIGN);
        command.arg(self.room.join(&format!("{}.pem", self.key_id))).arg(&self.key_id);
        command.arg(Value::from(claims).to_string());
        run(command).lines().map(str::to_owned).collect()
    }

    /// A token with this scope.
    #[must_use]
    pub fn scoped(&self, scope: &str) -> String {
        self.tokens(&[json!({ "scope": scope })]).remove(0)
    }
}
