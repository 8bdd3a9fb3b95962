//! An issuer of tokens: a server over https that publishes its keys, and tokens that PyJWT signs with them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::certificates::{Authority, Identity};
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

/// Serves a folder over https; says where, and each path that it is asked for. At `/token` it gives tokens as the file
/// of the exchange says, by number, to the client that is named there; and says which kind of question it was.
const SERVE: &str = r#"
import base64, http.server, json, os, ssl, sys, time, urllib.parse
folder, certificate, key, exchange, port = sys.argv[1:]
given = 0
class Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *words): super().__init__(*words, directory=folder)
    def log_message(self, *words): print("asked for", self.path, flush=True)
    def do_POST(self):
        global given
        form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        rules = json.load(open(exchange))
        time.sleep(rules.get("delay_seconds", 0))
        basic = "Basic " + base64.b64encode(rules["client"].encode()).decode()
        subject = form.get("subject_token", form.get("refresh_token", ""))
        print("question", form["grant_type"].split(":")[-1], form.get("audience", "-"), flush=True)
        if self.headers["Authorization"] != basic or not subject:
            status, answer = 401, {"error": "invalid_client"}
        elif "refuse" in rules:
            status, answer = 400, {"error": rules["refuse"], "error_description": "not to be shown: " + subject}
        else:
            given += 1
            status, answer = 200, {"access_token": f"granted-{given}", "token_type": "Bearer",
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                "expires_in": rules["expires_in"]}
            if rules.get("refreshable"): answer["refresh_token"] = f"refresh-{given}"
        body = json.dumps(answer).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            print("gone", flush=True)
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
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
    identity: Identity,
    room: Room,
}

/// Who a door is to the issuer, as `id:secret`.
pub const CLIENT: &str = "door01:s3cret";

/// What becomes of questions at the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    /// A token that is good for so many seconds; `refreshable`: with one that gives the next.
    Grant {
        /// How long.
        seconds: u32,
        /// Whether another can be had by a refresh token.
        refreshable: bool,
    },
    /// This error code.
    Refuse(&'static str),
    /// A token, but so many seconds later.
    Late(u32),
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

/// Where the server finds what becomes of questions.
const EXCHANGE: &str = "exchange.json";

fn serve(room: &Room, identity: &Identity, port: &str) -> (Daemon, String) {
    let mut command = python(SERVE);
    command.arg(room.join("www")).args([&identity.certificate, &identity.key]);
    command.arg(room.join(EXCHANGE)).arg(port);
    let mut server = Daemon::spawn("issuer", &mut command);
    let port = server.line("port ").trim_start_matches("port ").trim().to_owned();
    (server, port)
}

impl Issuer {
    /// One that serves.
    #[must_use]
    pub fn start() -> Issuer {
        let room = Room::new();
        let authority = Authority::new(room.path(), "issuers");
        let identity = authority.issue("issuer");
        fs::create_dir_all(room.join("www/.well-known")).expect("the room can be written");
        let (server, port) = serve(&room, &identity, "0");
        let url = format!("https://localhost:{port}");
        let description = json!({
            "issuer": url, "jwks_uri": format!("{url}/jwks"), "token_endpoint": format!("{url}/token"),
        });
        fs::write(room.join("www/.well-known/openid-configuration"), description.to_string())
            .expect("the room can be written");
        let mut issuer = Issuer { server, url, key_id: String::new(), authority, identity, room };
        issuer.exchange(Exchange::Refuse("unauthorized_client"));
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

    /// What becomes of questions at its token endpoint from now on. At first all are refused.
    pub fn exchange(&self, exchange: Exchange) {
        let rules = match exchange {
            Exchange::Grant { seconds, refreshable } => {
                json!({ "client": CLIENT, "expires_in": seconds, "refreshable": refreshable })
            }
            Exchange::Refuse(code) => json!({ "client": CLIENT, "refuse": code }),
            Exchange::Late(seconds) => {
                json!({ "client": CLIENT, "expires_in": 3600, "delay_seconds": seconds })
            }
        };
        // Whole under its name, or not at all: the server reads it at each question.
        let partial = self.room.join("exchange.new");
        fs::write(&partial, rules.to_string()).expect("the room can be written");
        fs::rename(partial, self.room.join(EXCHANGE)).expect("the room can be written");
    }

    /// The questions at its token endpoint so far: the last word of each one's kind, and the audience or `-`.
    #[must_use]
    pub fn questions(&self) -> Vec<String> {
        let said = self.server.stdout();
        said.lines().filter_map(|line| line.strip_prefix("question ")).map(str::to_owned).collect()
    }

    /// It is away from now on.
    pub fn stop(&mut self) {
        self.server.terminate();
        let _ = self.server.ended();
    }

    /// It is there again, with what it had.
    pub fn restart(&mut self) {
        let port = self.url.rsplit_once(':').expect("its URL has a port").1.to_owned();
        (self.server, _) = serve(&self.room, &self.identity, &port);
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
        self.python(SIGN, &Value::from(claims)).lines().map(str::to_owned).collect()
    }

    /// What a program makes of its private key (a PEM file), the key's id, and these claims: its arguments.
    #[must_use]
    pub fn python(&self, program: &str, claims: &Value) -> String {
        let mut command = python(program);
        command.arg(self.room.join(&format!("{}.pem", self.key_id))).arg(&self.key_id);
        command.arg(claims.to_string());
        run(command)
    }

    /// A token with this scope.
    #[must_use]
    pub fn scoped(&self, scope: &str) -> String {
        self.tokens(&[json!({ "scope": scope })]).remove(0)
    }
}
