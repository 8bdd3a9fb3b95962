//! An issuer's server, over https, that can also misbehave.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::super::fetch::{FetchError, Fetcher};
use super::*;

/// What it answers at a path.
#[derive(Clone)]
pub enum Page {
    /// Status line and headers, and a body.
    Answer(String, Vec<u8>),
    /// Nothing, for longer than anybody waits.
    Silence,
}

pub struct Server {
    address: std::net::SocketAddr,
    certificate: CertificateDer<'static>,
    pages: Arc<Mutex<HashMap<String, Page>>>,
    requests: Arc<AtomicUsize>,
}

impl Server {
    pub async fn start() -> Self {
        let key = rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
        let certificate = key.cert.der().clone();
        let private = PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], private)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (pages, requests) = (Arc::new(Mutex::new(HashMap::new())), Arc::new(AtomicUsize::new(0)));
        let server =
            Self { address, certificate, pages: Arc::clone(&pages), requests: Arc::clone(&requests) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, pages, requests) =
                    (acceptor.clone(), Arc::clone(&pages), Arc::clone(&requests));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let Ok(byte) = stream.read_u8().await else { return };
                        head.push(byte);
                    }
                    requests.fetch_add(1, Ordering::SeqCst);
                    let head = String::from_utf8(head).unwrap();
                    let path = head.split(' ').nth(1).unwrap().to_owned();
                    let page = pages.lock().unwrap().get(&path).cloned();
                    let answer = match page {
                        Some(Page::Answer(head, body)) => [head.as_bytes(), &body].concat(),
                        Some(Page::Silence) => {
                            tokio::time::sleep(Duration::from_secs(3600)).await;
                            return;
                        }
                        None => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
                    };
                    // The other side may have had enough.
                    let _ = stream.write_all(&answer).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        server
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    pub fn fetcher(&self) -> Fetcher {
        Fetcher::trusting(std::slice::from_ref(&self.certificate))
    }

    pub fn put(&self, path: &str, page: Page) {
        self.pages.lock().unwrap().insert(path.to_owned(), page);
    }

    pub fn put_json(&self, path: &str, json: &Value) {
        let body = json.to_string().into_bytes();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.put(path, Page::Answer(head, body));
    }

    fn redirect(&self, path: &str, to: &str) {
        let head = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
        self.put(path, Page::Answer(head, Vec::new()));
    }

    /// Makes it an issuer with these keys.
    pub fn publish(&self, keys: &Value) {
        let description = json!({ "issuer": self.url(""), "jwks_uri": self.url("/jwks") });
        self.put_json("/.well-known/openid-configuration", &description);
        self.put_json("/jwks", keys);
    }
}

/// Tokens of a server that is an issuer.
struct LiveIssuer {
    server: Server,
    signer: Signer,
    issuers: Arc<Issuers>,
}

impl LiveIssuer {
    async fn start() -> Self {
        let server = Server::start().await;
        let trusted = TrustedIssuer { url: server.url(""), ..trusted(Profile::Wlcg) };
        let issuers = Issuers::new(&[trusted], server.fetcher(), None, None);
        Self { server, signer: Signer::new(), issuers }
    }

    async fn verify(&self) -> Result<(), TokenError> {
        let claims = claims(Profile::Wlcg, json!({ "iss": self.server.url("") }));
        let token = Secret::new(self.signer.es256(&claims));
        verify(&self.issuers, &token, now()).await.map(drop)
    }
}

#[tokio::test]
async fn keys_are_read_once_over_https_for_many_tokens() {
    let issuer = LiveIssuer::start().await;
    issuer.server.publish(&issuer.signer.jwks());
    let (one, other) = tokio::join!(issuer.verify(), issuer.verify());
    assert_eq!((one, other, issuer.verify().await), (Ok(()), Ok(()), Ok(())));
    assert_eq!(issuer.server.requests(), 2, "its description and its keys");
}

#[tokio::test]
async fn keys_that_are_known_outlive_a_reload_and_the_issuers_absence() {
    let mut issuer = LiveIssuer::start().await;
    issuer.server.publish(&issuer.signer.jwks());
    assert_eq!(issuer.verify().await, Ok(()));
    let trusted = TrustedIssuer { url: issuer.server.url(""), ..trusted(Profile::Wlcg) };
    issuer.server.put("/.well-known/openid-configuration", Page::Silence);
    issuer.issuers = Issuers::new(&[trusted], issuer.server.fetcher(), Some(&issuer.issuers), None);
    assert_eq!(issuer.verify().await, Ok(()));
    assert_eq!(issuer.server.requests(), 2);
}

#[tokio::test]
async fn an_issuer_that_gives_nothing_usable_is_asked_once_and_its_tokens_are_refused() {
    type Spoil = fn(&Server);
    let cases: [(&str, Spoil); 7] = [
        ("away", |_| ()),
        ("another issuer", |server| {
            let description = json!({ "issuer": "https://other.example", "jwks_uri": server.url("/jwks") });
            server.put_json("/.well-known/openid-configuration", &description);
        }),
        ("keys on http", |server| {
            let description = json!({ "issuer": server.url(""), "jwks_uri": "http://localhost/jwks" });
            server.put_json("/.well-known/openid-configuration", &description);
        }),
        ("no JSON", |server| {
            server.put(
                "/jwks",
                Page::Answer("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n".into(), b"x".to_vec()),
            );
        }),
        ("no keys", |server| server.put_json("/jwks", &json!({ "keys": [] }))),
        ("huge", |server| {
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned();
            server.put("/jwks", Page::Answer(head, vec![b' '; 1 << 20]));
        }),
        ("an error", |server| {
            let head = "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_owned();
            server.put("/jwks", Page::Answer(head, Vec::new()));
        }),
    ];
    for (what, spoil) in cases {
        let issuer = LiveIssuer::start().await;
        if what != "away" {
            issuer.server.publish(&issuer.signer.jwks());
        }
        spoil(&issuer.server);
        assert_eq!(issuer.verify().await, Err(TokenError::NoKeys), "{what}");
        let asked = issuer.server.requests();
        assert_eq!(issuer.verify().await, Err(TokenError::NoKeys), "{what}");
        assert_eq!(issuer.server.requests(), asked, "{what}: asked again at once");
    }
}

#[tokio::test]
async fn redirects_are_followed_a_few_times_and_only_to_https() {
    let server = Server::start().await;
    let fetcher = server.fetcher();
    server.put_json("/end", &json!("there"));
    server.redirect("/1", "/end");
    server.redirect("/2", &server.url("/1"));
    server.redirect("/3", "/2");
    server.redirect("/4", "/3");
    server.redirect("/plain", "http://localhost/end");
    server.redirect("/round", "/round");
    assert_eq!(fetcher.get(&server.url("/3")).await.unwrap(), "\"there\"");
    assert!(matches!(fetcher.get(&server.url("/4")).await, Err(FetchError::Redirects)));
    assert!(matches!(fetcher.get(&server.url("/round")).await, Err(FetchError::Redirects)));
    assert!(matches!(fetcher.get(&server.url("/plain")).await, Err(FetchError::Scheme)));
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_is_not_believed() {
    let server = Server::start().await;
    server.put_json("/x", &json!(1));
    let stranger = Server::start().await;
    assert!(matches!(stranger.fetcher().get(&server.url("/x")).await, Err(FetchError::Connect(_))));
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left_after_a_while() {
    let server = Server::start().await;
    server.put("/x", Page::Silence);
    let hasty = server.fetcher().patience(Duration::from_millis(200));
    assert!(matches!(hasty.get(&server.url("/x")).await, Err(FetchError::Timeout)));
}
