//! Exchanges with an issuer in this process, over https.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Mutex;

use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::*;

/// A question as the issuer got it: path, `Authorization`, form.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Question {
    path: String,
    authorization: String,
    form: String,
}

/// An issuer whose answers a test gives, one after the other; then it says no.
struct Idp {
    url: String,
    questions: Arc<Mutex<Vec<Question>>>,
    answers: Arc<Mutex<Vec<(u16, String)>>>,
    exchanges: Arc<Exchanges>,
    directory: tempfile::TempDir,
}

const CLIENT: &str = "door-1\nhunter2\n";
const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn token() -> Secret {
    Secret::new("users.own.TOKEN")
}

impl Idp {
    /// `endpoint`: whether the configuration says where, so that nobody has to be asked.
    async fn start(endpoint: bool, answers: &[(u16, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
        let authorities = directory.path().join("ca.pem");
        std::fs::write(&authorities, certificate.pem()).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
        let client = directory.path().join("client");
        std::fs::write(&client, CLIENT).unwrap();
        std::fs::set_permissions(&client, std::fs::Permissions::from_mode(0o600)).unwrap();
        let rules = ExchangeRules {
            issuer: url.clone(),
            client,
            token_endpoint: endpoint.then(|| format!("{url}token")),
            scope: None,
            audience: None,
        };
        let answers: Vec<(u16, String)> =
            answers.iter().map(|(status, body)| (*status, body.replace("ISSUER", &url))).collect();
        let idp = Self {
            url,
            questions: Arc::default(),
            answers: Arc::new(Mutex::new(answers)),
            exchanges: Exchanges::load(&[rules], Some(&authorities)).unwrap(),
            directory,
        };
        idp.serve(listener, TlsAcceptor::from(Arc::new(config)));
        idp
    }

    fn serve(&self, listener: TcpListener, tls: TlsAcceptor) {
        let (questions, answers) = (Arc::clone(&self.questions), Arc::clone(&self.answers));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = tls.accept(stream).await else { continue };
                let mut bytes = Vec::new();
                while !is_whole(&bytes) {
                    if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                        break;
                    }
                }
                questions.lock().unwrap().push(question(&bytes));
                let next = {
                    let mut answers = answers.lock().unwrap();
                    if answers.is_empty() { (403, String::new()) } else { answers.remove(0) }
                };
                let text = format!(
                    "HTTP/1.1 {} Said\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
                    next.0,
                    next.1.len(),
                    next.1
                );
                let _ = stream.write_all(text.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
    }

    async fn fresh(&self, now: Timestamp) -> Result<String, ExchangeError> {
        let fresh = self.exchanges.fresh(&self.url, &token(), now).await?;
        Ok(String::from_utf8(fresh.access_token.expose().to_vec()).unwrap())
    }

    fn grants(&self) -> Vec<String> {
        let grant = |question: &Question| {
            let pairs = url::form_urlencoded::parse(question.form.as_bytes()).into_owned();
            pairs.filter(|(name, _)| name == "grant_type").map(|(_, value)| value).collect::<String>()
        };
        self.questions.lock().unwrap().iter().map(grant).collect()
    }
}

fn head(bytes: &[u8]) -> Option<(String, &[u8])> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((String::from_utf8(bytes[..end].to_vec()).unwrap(), &bytes[end + 4..]))
}

fn field(head: &str, name: &str) -> String {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map_or_else(String::new, |(_, value)| value.to_owned())
}

fn is_whole(bytes: &[u8]) -> bool {
    head(bytes).is_some_and(|(head, body)| body.len() >= field(&head, "content-length").parse().unwrap_or(0))
}

fn question(bytes: &[u8]) -> Question {
    let (head, body) = head(bytes).unwrap();
    Question {
        path: head.split(' ').nth(1).unwrap().to_owned(),
        authorization: field(&head, "authorization"),
        form: String::from_utf8(body.to_vec()).unwrap(),
    }
}

fn answer(token: &str, seconds: i64, refresh: Option<&str>) -> String {
    let refresh = refresh.map(|token| format!(",\"refresh_token\":\"{token}\"")).unwrap_or_default();
    format!("{{\"access_token\":\"{token}\",\"token_type\":\"Bearer\",\"expires_in\":{seconds}{refresh}}}")
}

#[tokio::test]
async fn a_token_is_exchanged_once_and_kept_while_it_is_good() {
    let description = "{\"issuer\":\"ISSUER\",\"token_endpoint\":\"ISSUERexchange\"}";
    let (first, second) = (answer("one", 3600, None), answer("two", 3600, None));
    let idp = Idp::start(false, &[(200, description), (200, &first), (200, &second)]).await;
    let now = Timestamp::now();
    assert_eq!(idp.fresh(now).await.unwrap(), "one");
    assert_eq!(idp.fresh(now + SignedDuration::from_mins(49)).await.unwrap(), "one");
    // It has to be good for a while longer.
    assert_eq!(idp.fresh(now + SignedDuration::from_mins(51)).await.unwrap(), "two");
    let questions = idp.questions.lock().unwrap().clone();
    let paths: Vec<_> = questions.iter().map(|question| question.path.as_str()).collect();
    assert_eq!(paths, ["/.well-known/openid-configuration", "/exchange", "/exchange"]);
    assert!(questions[1].form.contains("subject_token=users.own.TOKEN"), "{}", questions[1].form);
    let expected = message::Client::new("door-1", "hunter2");
    assert_eq!(questions[1].authorization.as_bytes(), expected.authorization().expose());
}

#[tokio::test]
async fn a_token_with_a_refresh_token_is_refreshed_and_exchanged_again_when_that_is_refused() {
    let answers = [
        (200, answer("one", 900, Some("r1"))),
        (200, answer("two", 900, None)),
        (400, "{\"error\":\"invalid_grant\"}".to_owned()),
        (200, answer("three", 900, None)),
    ];
    let answers: Vec<_> = answers.iter().map(|(status, body)| (*status, body.as_str())).collect();
    let idp = Idp::start(true, &answers).await;
    let now = Timestamp::now();
    assert_eq!(idp.fresh(now).await.unwrap(), "one");
    assert_eq!(idp.fresh(now + SignedDuration::from_mins(20)).await.unwrap(), "two");
    assert_eq!(idp.fresh(now + HOUR).await.unwrap(), "three");
    let exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
    assert_eq!(idp.grants(), [exchange, "refresh_token", "refresh_token", exchange]);
}

#[tokio::test]
async fn a_refusal_is_told_without_a_secret_and_tried_again_the_next_time() {
    let good = answer("one", 900, None);
    let refused = "{\"error\":\"invalid_client\",\"error_description\":\"TOKEN hunter2\"}";
    let idp = Idp::start(true, &[(401, refused), (200, &good)]).await;
    let now = Timestamp::now();
    let error = idp.fresh(now).await.unwrap_err().to_string();
    let expected = format!(
        "the token could not be exchanged: {} refuses (401 Unauthorized, \"invalid_client\")",
        idp.url
    );
    assert_eq!(error, expected);
    assert!(!format!("{:?}", idp.exchanges).contains("hunter2"));
    assert_eq!(idp.fresh(now).await.unwrap(), "one");
    let other = idp.exchanges.fresh("https://other.example.org", &token(), now).await.unwrap_err();
    assert!(matches!(other, ExchangeError::Unknown));
    assert!(idp.exchanges.knows(&idp.url) && !idp.exchanges.knows("https://other.example.org"));
}

#[tokio::test]
async fn an_issuer_that_cannot_be_believed_is_told_nothing() {
    let idp = Idp::start(true, &[]).await;
    let stranger = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let authorities = idp.directory.path().join("stranger.pem");
    std::fs::write(&authorities, stranger.cert.pem()).unwrap();
    let rules = vec![idp.exchanges.partners[0].rules.clone()];
    let suspicious = Exchanges::load(&rules, Some(&authorities)).unwrap();
    let error = suspicious.fresh(&idp.url, &token(), Timestamp::now()).await.unwrap_err();
    let ExchangeError::Shared(error) = error else { panic!("{error}") };
    assert!(matches!(*error, ExchangeError::Unreachable { .. }), "{error}");
    assert!(idp.questions.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_file_that_is_open_to_others_or_has_no_secret_is_refused() {
    let idp = Idp::start(true, &[]).await;
    let path = idp.directory.path().join("client");
    let error = |text: &str, mode: u32| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        read_client(&path).map(drop).unwrap_err().to_string()
    };
    assert!(error(CLIENT, 0o640).contains("can be read by others (mode 0640): chmod 600 "));
    for wrong in ["", "door-1", "door-1\n\n", "\nhunter2\n"] {
        let text = error(wrong, 0o600);
        assert!(text.ends_with("its secret in the second") && !text.contains("hunter2"), "{text}");
    }
    std::fs::remove_file(&path).unwrap();
    assert!(read_client(&path).unwrap_err().to_string().starts_with("delegation.exchange: cannot read "));
}

#[tokio::test]
async fn those_who_ask_for_one_token_at_once_ask_the_issuer_once() {
    // However short it lives: what came while they waited is theirs, too.
    for seconds in [3600, 60] {
        let idp = Idp::start(true, &[(200, &answer("granted", seconds, None))]).await;
        let now = Timestamp::now();
        let asking = (0..50).map(|_| idp.fresh(now));
        let got = futures_util::future::join_all(asking).await;
        assert!(got.into_iter().all(|token| token.is_ok_and(|token| token == "granted")), "{seconds}");
        assert_eq!(idp.grants().len(), 1, "{seconds}");
    }
}

#[tokio::test]
async fn what_an_issuer_refuses_is_refused_to_all_who_waited_and_not_to_who_comes_later() {
    let good = answer("granted", 3600, None);
    let idp = Idp::start(true, &[(400, "{\"error\":\"invalid_grant\"}"), (200, &good)]).await;
    let now = Timestamp::now();
    let got = futures_util::future::join_all((0..50).map(|_| idp.fresh(now))).await;
    assert!(
        got.into_iter().all(|token| token.is_err_and(|error| error.to_string().contains("invalid_grant")))
    );
    assert_eq!(idp.grants().len(), 1);
    assert_eq!(idp.fresh(now).await.unwrap(), "granted");
}
