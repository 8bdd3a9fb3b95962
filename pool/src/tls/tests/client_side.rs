//! The pool as a client: whom it believes.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use rustls::pki_types::ServerName;

use super::{Authority, NAME, PATIENCE, Server};
use crate::engine::blocking::Blocking;
use crate::engine::net::connect::ConnectOptions;
use crate::engine::net::{Connection, Received};
use crate::engine::shard::Shard;
use crate::tls::client::ClientFiles;
use crate::tls::server::ServerFiles;
use crate::tls::{ClientTls, TlsStream};

/// Says who it is by its first word.
async fn greet(stream: TlsStream) {
    let (sent, _) = stream.send_within(b"hello".to_vec(), 0..5, false, PATIENCE).await;
    if sent.is_ok() {
        stream.end(PATIENCE).await;
    }
}

fn client(authorities: &Path) -> ClientTls {
    ClientTls::load(ClientFiles { authorities: authorities.to_owned(), identity: None }).unwrap()
}

/// What a client hears from a server that it takes for `name`, or why it does not trust it.
fn ask(server: &Server, client: &Arc<ClientTls>, name: &str) -> Result<(String, bool), String> {
    let shard = Shard::start(1, 4, Blocking::new(2)).expect("io_uring is needed for the tests");
    let (tell, answer) = channel();
    let (address, client) = (server.address, Arc::clone(client));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    shard
        .submit(move |core: Rc<_>| async move {
            let connection = Connection::connect(&core, address, &ConnectOptions::default()).await.unwrap();
            let heard = match client.connect(connection, name, None, PATIENCE).await {
                Ok(stream) => {
                    let (received, buffer) = stream.receive_within(vec![0; 5], 0..5, true, PATIENCE).await;
                    match received {
                        Ok(Received::Bytes(5)) => {
                            Ok((String::from_utf8(buffer).unwrap(), stream.facts().resumed))
                        }
                        other => Err(format!("{other:?}")),
                    }
                }
                Err(error) => Err(error.to_string()),
            };
            tell.send(heard).unwrap();
        })
        .unwrap();
    answer.recv_timeout(PATIENCE).unwrap()
}

fn serve(files: ServerFiles) -> Server {
    Server::start(files, PATIENCE, greet)
}

#[test]
fn a_server_is_believed_if_its_authority_and_name_are_right_and_recognises_who_comes_again() {
    let authority = Authority::new();
    let server = serve(authority.issue("pool", &[NAME, "127.0.0.1"]));
    let trusting = Arc::new(client(&authority.certificate()));
    assert_eq!(ask(&server, &trusting, NAME), Ok(("hello".to_owned(), false)));
    assert_eq!(ask(&server, &trusting, NAME), Ok(("hello".to_owned(), true)));
    assert_eq!(ask(&server, &trusting, "127.0.0.1"), Ok(("hello".to_owned(), false)));
    let other = ask(&server, &trusting, "other.example.org").unwrap_err();
    assert!(other.contains("not valid for name"), "{other}");
    let stranger = Arc::new(client(&Authority::new().certificate()));
    let unknown = ask(&server, &stranger, NAME).unwrap_err();
    assert!(unknown.contains("UnknownIssuer"), "{unknown}");
}

#[test]
fn a_certificate_that_has_ended_is_not_believed() {
    let authority = Authority::new();
    let yesterday = SystemTime::now() - Duration::from_secs(86_400);
    let ended = authority.issue_with("pool", &[NAME], |params| params.not_after = yesterday.into());
    let refused = ask(&serve(ended), &Arc::new(client(&authority.certificate())), NAME).unwrap_err();
    assert!(refused.contains("expired"), "{refused}");
}

/// A directory as grids keep their authorities.
fn directory_of(authorities: &[&Authority]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (number, authority) in authorities.iter().enumerate() {
        std::fs::copy(authority.certificate(), directory.path().join(format!("0123456{number}.0"))).unwrap();
        // The same under its name, as distributions have it.
        std::fs::copy(authority.certificate(), directory.path().join(format!("CA{number}.pem"))).unwrap();
    }
    directory
}

#[test]
fn a_directory_of_authorities_is_read_and_what_is_broken_in_it_is_passed_over() {
    let (one, other) = (Authority::new(), Authority::new());
    let directory = directory_of(&[&one, &other]);
    std::fs::write(directory.path().join("broken.pem"), "nonsense").unwrap();
    std::fs::write(directory.path().join("broken.r0"), "nonsense").unwrap();
    std::fs::write(directory.path().join("CA0.info"), "url = https://example.org").unwrap();
    let trusting = Arc::new(client(directory.path()));
    let trust = trusting.trust();
    assert_eq!((trust.authorities, trust.revocation_lists), (2, 0));
    assert_eq!(trust.passed_over.len(), 2, "{:?}", trust.passed_over);
    for authority in [&one, &other] {
        let server = serve(authority.issue("pool", &[NAME]));
        assert!(ask(&server, &trusting, NAME).is_ok());
    }
}

#[test]
fn an_authority_or_a_revocation_that_comes_later_counts_from_the_next_look() {
    let (one, late) = (Authority::new(), Authority::new());
    let directory = directory_of(&[&one]);
    let trusting = Arc::new(client(directory.path()));
    let serial = SerialNumber::from_slice(&[0x17, 0x2a]);
    let server =
        serve(late.issue_with("pool", &[NAME], |params| params.serial_number = Some(serial.clone())));
    assert!(ask(&server, &trusting, NAME).is_err());
    assert!(!trusting.reload(false).unwrap(), "nothing has changed");

    std::fs::copy(late.certificate(), directory.path().join("89abcdef.0")).unwrap();
    assert!(trusting.reload(false).unwrap());
    assert!(ask(&server, &trusting, NAME).is_ok());

    std::fs::write(directory.path().join("89abcdef.r0"), late.revoke(&[serial])).unwrap();
    assert!(trusting.reload(false).unwrap());
    assert_eq!(trusting.trust().revocation_lists, 1);
    let revoked = ask(&server, &trusting, NAME).unwrap_err();
    assert!(revoked.contains("Revoked"), "{revoked}");
    // Who has no list is believed as before.
    assert!(ask(&serve(one.issue("pool", &[NAME])), &trusting, NAME).is_ok());
}

#[test]
fn trust_that_cannot_be_read_any_more_stays_as_it_was() {
    let authority = Authority::new();
    let directory = directory_of(&[&authority]);
    let trusting = Arc::new(client(directory.path()));
    let server = serve(authority.issue("pool", &[NAME]));
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let error = trusting.reload(false).unwrap_err().to_string();
    assert!(error.contains("holds no certificate of an authority"), "{error}");
    assert!(ask(&server, &trusting, NAME).is_ok());
}

impl Authority {
    /// A list of revoked certificates, PEM.
    fn revoke(&self, serials: &[SerialNumber]) -> String {
        let now = SystemTime::now();
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: serial.clone(),
            revocation_time: now.into(),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: now.into(),
            next_update: (now + Duration::from_secs(86_400)).into(),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}
