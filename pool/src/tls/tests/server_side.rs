//! The data port's side, with clients of rustls' usual kind.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime};

use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

use super::{Authority, NAME, PATIENCE, SLOT_PATIENCE, Server, content};
use crate::engine::arena::SLOT_BYTES;
use crate::engine::net::Received;
use crate::tls::server::{ServerFiles, provider};
use crate::tls::{HandshakeError, ServerTls, TlsStream};

type Client = StreamOwned<ClientConnection, TcpStream>;

fn config(authority: &Authority, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_file(authority.certificate()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(provider()));
    let builder = builder.with_protocol_versions(versions).unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

fn connect(server: &Server, config: &Arc<ClientConfig>) -> Client {
    let tcp = TcpStream::connect(server.address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let client = ClientConnection::new(Arc::clone(config), ServerName::try_from(NAME).unwrap()).unwrap();
    StreamOwned::new(client, tcp)
}

/// Receives so many bytes through a slot, as an upload does.
async fn receive(stream: &TlsStream, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let slot = stream.core().arena().take().await;
        let part = 0..(length - bytes.len()).min(SLOT_BYTES);
        let (received, slot) = stream.receive_within(slot, part, true, SLOT_PATIENCE).await;
        match received? {
            Received::Bytes(count) => bytes.extend_from_slice(&slot[..count]),
            Received::Paused(count) => {
                bytes.extend_from_slice(&slot[..count]);
                drop(slot);
                stream.readable().await?;
            }
            Received::End => return Err(io::Error::other("the end came early")),
        }
    }
    Ok(bytes)
}

/// Gets a length and so many bytes, and gives the bytes back.
async fn echo(stream: TlsStream) {
    let length = receive(&stream, 8).await.unwrap();
    let length = u64::from_be_bytes(length.try_into().unwrap()) as usize;
    let bytes = receive(&stream, length).await.unwrap();
    for piece in bytes.chunks(SLOT_BYTES) {
        let mut sent = 0;
        while sent < piece.len() {
            let mut slot = stream.core().arena().take().await;
            slot[..piece.len()].copy_from_slice(piece);
            let (result, slot) = stream.send_within(slot, sent..piece.len(), false, SLOT_PATIENCE).await;
            let (count, paused) = result.unwrap();
            sent += count;
            drop(slot);
            if paused {
                stream.writable().await.unwrap();
            }
        }
    }
    stream.end(PATIENCE).await;
    drain(&stream).await;
}

/// Reads what the client may still have sent: closing with bytes unread would reset the connection.
async fn drain(stream: &TlsStream) {
    while let (Ok(Received::Bytes(_)), _) = stream.receive_within(vec![0; 100], 0..100, false, PATIENCE).await
    {
    }
}

#[test]
fn bytes_of_any_number_come_back_with_either_version() {
    let authority = Authority::new();
    let server = Server::start(authority.issue("pool", &[NAME]), PATIENCE, echo);
    for version in [&TLS12, &TLS13] {
        let config = config(&authority, &[version]);
        for length in [1, 16_383, 16_384, 16_385, 1 << 20, (3 << 20) + 7] {
            let sent = content(length);
            let mut client = connect(&server, &config);
            client.write_all(&(length as u64).to_be_bytes()).unwrap();
            client.write_all(&sent).unwrap();
            client.flush().unwrap();
            let mut back = Vec::new();
            // Ends without an error only if the server said that this was all.
            client.read_to_end(&mut back).unwrap();
            assert!(back == sent, "{length} bytes with {version:?}");
            assert_eq!(server.handshake().unwrap().version_13, version == &TLS13);
        }
    }
}

#[test]
fn keys_may_change_in_the_middle() {
    let authority = Authority::new();
    let server = Server::start(authority.issue("pool", &[NAME]), PATIENCE, echo);
    let mut client = connect(&server, &config(&authority, &[&TLS13]));
    let sent = content(700_000);
    client.write_all(&(sent.len() as u64).to_be_bytes()).unwrap();
    for piece in sent.chunks(100_000) {
        client.write_all(piece).unwrap();
        // RFC 8446 §4.6.3: a change of keys, and the wish that the other side changes its own.
        client.conn.refresh_traffic_keys().unwrap();
    }
    client.flush().unwrap();
    let mut back = Vec::new();
    client.read_to_end(&mut back).unwrap();
    assert!(back == sent);
}

#[test]
fn who_comes_again_is_recognised_even_after_the_certificate_was_renewed() {
    let authority = Authority::new();
    let files = authority.issue("pool", &[NAME]);
    let server = Server::start(files, PATIENCE, echo);
    for version in [&TLS12, &TLS13] {
        let config = config(&authority, &[version]);
        for again in [false, true, true] {
            let mut client = connect(&server, &config);
            client.write_all(&[&1u64.to_be_bytes()[..], b"x"].concat()).unwrap();
            let mut back = Vec::new();
            client.read_to_end(&mut back).unwrap();
            assert_eq!(back, b"x");
            assert_eq!(server.handshake().unwrap().resumed, again, "{version:?}");
            authority.issue("pool", &[NAME]);
            assert!(server.tls.reload(false).unwrap());
        }
    }
}

#[test]
fn a_connection_that_is_cut_is_told_from_one_that_is_closed() {
    let authority = Authority::new();
    let (tell, outcomes) = channel();
    let server = Server::start(authority.issue("pool", &[NAME]), PATIENCE, move |stream| {
        let tell = tell.clone();
        async move {
            let mut came = Vec::new();
            let end = loop {
                let (received, buffer) = stream.receive_within(vec![0; 100], 0..100, false, PATIENCE).await;
                match received {
                    Ok(Received::Bytes(count)) => came.extend_from_slice(&buffer[..count]),
                    Ok(other) => break Ok(other),
                    Err(error) => break Err(error.kind()),
                }
            };
            tell.send((came, end)).unwrap();
        }
    });
    let config = config(&authority, &[&TLS13]);
    let mut client = connect(&server, &config);
    client.write_all(b"all of it").unwrap();
    client.conn.send_close_notify();
    client.flush().unwrap();
    drop(client);
    assert_eq!(outcomes.recv_timeout(PATIENCE).unwrap(), (b"all of it".to_vec(), Ok(Received::End)));
    let mut client = connect(&server, &config);
    client.write_all(b"a part").unwrap();
    drop(client);
    let cut = Err(io::ErrorKind::UnexpectedEof);
    assert_eq!(outcomes.recv_timeout(PATIENCE).unwrap(), (b"a part".to_vec(), cut));
}

#[test]
fn a_reader_that_pauses_holds_no_slot_and_misses_nothing() {
    const LENGTH: usize = 24 << 20;
    let authority = Authority::new();
    let (tell, outcomes) = channel();
    let server = Server::start(authority.issue("pool", &[NAME]), PATIENCE, move |stream| {
        let tell = tell.clone();
        async move {
            let (core, bytes) = (Rc::clone(stream.core()), content(LENGTH));
            let (mut sent, mut pauses, mut held) = (0, 0, 0);
            while sent < LENGTH {
                let mut slot = core.arena().take().await;
                let length = (LENGTH - sent).min(SLOT_BYTES);
                slot[..length].copy_from_slice(&bytes[sent..sent + length]);
                let (result, slot) = stream.send_within(slot, 0..length, false, SLOT_PATIENCE).await;
                let (count, paused) = result.unwrap();
                assert!(count < length || !paused, "what is begun and not sent is not counted as sent");
                sent += count;
                drop(slot);
                if paused {
                    pauses += 1;
                    held = held.max(core.arena().used());
                    stream.writable().await.unwrap();
                }
            }
            stream.end(PATIENCE).await;
            tell.send((pauses, held)).unwrap();
            drain(&stream).await;
        }
    });
    let mut client = connect(&server, &config(&authority, &[&TLS13]));
    client.write_all(b"go").unwrap();
    let mut received = Vec::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        // The first megabytes fill the socket's buffers while nobody reads.
        if received.len() % (6 << 20) < buffer.len() {
            std::thread::sleep(Duration::from_millis(150));
        }
        match client.read(&mut buffer).unwrap() {
            0 => break,
            count => received.extend_from_slice(&buffer[..count]),
        }
    }
    assert!(received == content(LENGTH));
    let (pauses, held) = outcomes.recv_timeout(PATIENCE).unwrap();
    assert!(pauses > 0, "the client was never slow: the story shows nothing");
    assert_eq!(held, 0, "slots in use while waiting");
}

#[test]
fn who_goes_on_with_shorter_pieces_after_a_pause_sends_nothing_twice() {
    const LENGTH: usize = 24 << 20;
    let authority = Authority::new();
    let (tell, outcomes) = channel();
    let server = Server::start(authority.issue("pool", &[NAME]), PATIENCE, move |stream| {
        let tell = tell.clone();
        async move {
            let bytes = content(LENGTH);
            let (mut sent, mut pauses, mut longest) = (0, 0, SLOT_BYTES);
            while sent < LENGTH {
                let piece = bytes[sent..LENGTH.min(sent + longest)].to_vec();
                let length = piece.len();
                let (result, _) = stream.send_within(piece, 0..length, false, SLOT_PATIENCE).await;
                let (count, paused) = result.unwrap();
                sent += count;
                // What was begun before the pause is longer than any of the next few pieces.
                longest = if paused { 1_000 } else { (longest * 2).min(SLOT_BYTES) };
                if paused {
                    pauses += 1;
                    stream.writable().await.unwrap();
                }
            }
            stream.end(PATIENCE).await;
            tell.send(pauses).unwrap();
            drain(&stream).await;
        }
    });
    let mut client = connect(&server, &config(&authority, &[&TLS13]));
    client.write_all(b"go").unwrap();
    // Meanwhile the sockets' buffers fill.
    std::thread::sleep(Duration::from_millis(300));
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    assert!(received == content(LENGTH));
    assert!(
        outcomes.recv_timeout(PATIENCE).unwrap() > 0,
        "the client was never slow: the story shows nothing"
    );
}

#[test]
fn garbage_ends_the_connection_and_the_client_hears_why() {
    let authority = Authority::new();
    let (tell, outcomes) = channel();
    let server = Server::start(authority.issue("pool", &[NAME]), PATIENCE, move |stream| {
        let tell = tell.clone();
        async move {
            let (first, _) = stream.receive_within(vec![0; 2], 0..2, true, PATIENCE).await;
            let (second, _) = stream.receive_within(vec![0; 2], 0..2, true, PATIENCE).await;
            let (sent, _) = stream.send_within(b"too late".to_vec(), 0..8, false, PATIENCE).await;
            tell.send((first.is_ok(), second.unwrap_err().kind(), sent.unwrap_err().kind())).unwrap();
        }
    });
    for version in [&TLS12, &TLS13] {
        let mut client = connect(&server, &config(&authority, &[version]));
        client.write_all(b"ok").unwrap();
        client.sock.write_all(&[23, 3, 3, 0, 30]).unwrap();
        client.sock.write_all(&[7; 30]).unwrap();
        let wrong = io::ErrorKind::InvalidData;
        assert_eq!(outcomes.recv_timeout(PATIENCE).unwrap(), (true, wrong, wrong));
        let told = client.read(&mut [0; 10]).unwrap_err().to_string();
        assert!(told.contains("received fatal alert"), "{told}");
    }
}

#[test]
fn who_speaks_something_else_or_nothing_or_goes_away_is_told_apart() {
    let authority = Authority::new();
    let limit = Duration::from_millis(300);
    let server = Server::start(authority.issue("pool", &[NAME]), limit, echo);
    let mut plain = TcpStream::connect(server.address).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(matches!(server.handshake(), Err(HandshakeError::NotTls)));
    let mut wrong = TcpStream::connect(server.address).unwrap();
    wrong.write_all(&[0x16, 3, 1, 0, 4, 1, 2, 3, 4]).unwrap();
    assert!(matches!(server.handshake(), Err(HandshakeError::Tls(_))));
    let _silent = TcpStream::connect(server.address).unwrap();
    assert!(matches!(server.handshake(), Err(HandshakeError::Timeout(_))));
    drop(TcpStream::connect(server.address).unwrap());
    assert!(matches!(server.handshake(), Err(HandshakeError::Closed | HandshakeError::Connection(_))));
    // Somebody who does not believe the certificate.
    let mut stranger = connect(&server, &config(&Authority::new(), &[&TLS13]));
    assert!(stranger.write_all(b"x").and_then(|()| stranger.flush()).is_err());
    assert!(matches!(server.handshake(), Err(HandshakeError::Tls(rustls::Error::AlertReceived(_)))));
}

#[test]
fn what_was_given_up_in_the_middle_is_not_gone_on_with() {
    let authority = Authority::new();
    let (tell, outcomes) = channel();
    let server = Server::start(authority.issue("pool", &[NAME]), PATIENCE, move |stream| {
        let tell = tell.clone();
        async move {
            let core = Rc::clone(stream.core());
            let short = Duration::from_millis(20);
            assert!(
                core.within(short, stream.receive_within(vec![0; 9], 0..9, true, PATIENCE)).await.is_none()
            );
            let (received, _) = stream.receive_within(vec![0; 9], 0..9, true, PATIENCE).await;
            // The other direction is as it was: a refusal can be told.
            let (refused, _) = stream.send_within(b"no".to_vec(), 0..2, false, PATIENCE).await;
            let much = vec![0; 64 << 20];
            assert!(
                core.within(short, stream.send_within(much, 0..64 << 20, false, PATIENCE)).await.is_none()
            );
            let (sent, _) = stream.send_within(b"x".to_vec(), 0..1, false, PATIENCE).await;
            tell.send((received.unwrap_err().kind(), refused.unwrap(), sent.unwrap_err().kind())).unwrap();
        }
    });
    let mut client = connect(&server, &config(&authority, &[&TLS13]));
    let mut answer = [0; 2];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"no");
    let given_up = io::ErrorKind::ConnectionAborted;
    assert_eq!(outcomes.recv_timeout(PATIENCE).unwrap(), (given_up, (2, false), given_up));
}

#[test]
fn a_renewed_certificate_is_shown_and_a_broken_one_is_not_taken() {
    let authority = Authority::new();
    let files = authority.issue("pool", &[NAME]);
    let server = Server::start(files.clone(), PATIENCE, echo);
    let shown = || {
        // A client without tickets, which sees the certificate of now.
        let mut client = connect(&server, &config(&authority, &[&TLS13]));
        client.write_all(&0u64.to_be_bytes()).unwrap();
        assert_eq!(client.read_to_end(&mut Vec::new()).unwrap(), 0);
        client.conn.peer_certificates().unwrap()[0].to_vec()
    };
    let first = shown();
    assert!(!server.tls.reload(false).unwrap(), "nothing has changed");
    authority.issue("pool", &[NAME]);
    assert!(server.tls.reload(false).unwrap());
    let second = shown();
    assert!(first != second);
    for broken in ["", "nonsense", &std::fs::read_to_string(authority.certificate()).unwrap()] {
        std::fs::write(&files.cert, broken).unwrap();
        let error = server.tls.reload(false).unwrap_err().to_string();
        assert!(error.contains(&files.cert.display().to_string()), "{error}");
        assert!(!server.tls.reload(false).unwrap(), "told once");
        assert!(shown() == second);
    }
}

#[test]
fn a_certificate_that_ends_soon_is_worried_about() {
    let authority = Authority::new();
    let now = SystemTime::now();
    let days = |days: u64| now + Duration::from_secs(days * 86_400);
    let load = |not_after: SystemTime| {
        let files = authority.issue_with("pool", &[NAME], |params| params.not_after = not_after.into());
        ServerTls::load(files).unwrap()
    };
    assert_eq!(load(days(30)).worry(now), None);
    // Certificates know whole seconds only.
    assert!(load(days(3)).worry(now).unwrap().contains("ends in 71 h"));
    assert!(load(days(3)).worry(days(4)).unwrap().contains("has ended"));
}

#[test]
fn a_key_that_belongs_to_another_certificate_is_refused() {
    let authority = Authority::new();
    let (one, other) = (authority.issue("one", &[NAME]), authority.issue("other", &[NAME]));
    let error = ServerTls::load(ServerFiles { cert: one.cert, key: other.key }).unwrap_err().to_string();
    assert!(error.contains("cannot be used together"), "{error}");
}
