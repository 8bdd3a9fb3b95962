//! A remote server that does what a story tells it: one thread for each connection, one script for each request.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::tls::certificate::{read_chain, read_key};
use crate::tls::server::ServerFiles;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    /// Requests of this method before it, over all connections.
    pub(crate) number: usize,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// First byte and last byte.
    pub(crate) fn range(&self) -> Option<(usize, usize)> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().unwrap(), last.parse().unwrap()))
    }

    pub(crate) fn content_length(&self) -> usize {
        self.header("content-length").map_or(0, |length| length.parse().unwrap())
    }
}

/// What a connection is read from and written to, encrypted or not.
pub(crate) trait Talk: Read + Write + Send {}

impl<T: Read + Write + Send> Talk for T {}

/// One connection, in the hands of a script.
pub(crate) struct Line {
    stream: Box<dyn Talk>,
    /// Below the stream.
    pub(crate) tcp: TcpStream,
}

impl Line {
    /// Sends text; a client that has gone is no matter.
    pub(crate) fn say(&mut self, text: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(text.as_ref()).and_then(|()| self.stream.flush());
    }

    /// A head with a length, and the body.
    pub(crate) fn answer(&mut self, status: &str, headers: &str, body: &[u8]) {
        self.say(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len()));
        self.say(body);
    }

    /// Reads so many bytes of a body; fewer if the client closes.
    pub(crate) fn take(&mut self, length: usize) -> Vec<u8> {
        let mut body = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match self.stream.read(&mut body[filled..]) {
                Ok(0) | Err(_) => break,
                Ok(count) => filled += count,
            }
        }
        body.truncate(filled);
        body
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(&mut self) {
        let _ = socket2::SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO));
        let _ = self.tcp.shutdown(std::net::Shutdown::Read);
    }

    /// Stays silent until the client goes.
    pub(crate) fn wait_until_gone(&mut self) {
        let _ = std::io::copy(&mut self.stream, &mut std::io::sink());
    }
}

/// What becomes of the connection after a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Keep,
    Close,
}

type Script = Arc<dyn Fn(&Request, &mut Line) -> Then + Send + Sync>;

/// The server.
pub(crate) struct Far {
    address: SocketAddr,
    secure: bool,
    state: Arc<FarState>,
}

#[derive(Default)]
struct FarState {
    requests: Mutex<Vec<Request>>,
    connections: AtomicUsize,
    /// The certificate that each TLS client showed, in order of arrival.
    shown: Mutex<Vec<Option<Vec<u8>>>>,
    stopped: AtomicBool,
}

impl Far {
    /// Answers every request by the script.
    pub(crate) fn new(script: impl Fn(&Request, &mut Line) -> Then + Send + Sync + 'static) -> Far {
        Far::open("127.0.0.1:0", None, script)
    }

    /// The same on this machine's IPv6.
    pub(crate) fn over_ipv6(script: impl Fn(&Request, &mut Line) -> Then + Send + Sync + 'static) -> Far {
        Far::open("[::1]:0", None, script)
    }

    /// The same with TLS.
    pub(crate) fn secure(
        files: &ServerFiles,
        script: impl Fn(&Request, &mut Line) -> Then + Send + Sync + 'static,
    ) -> Far {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(read_chain(&files.cert).unwrap(), read_key(&files.key).unwrap());
        Far::open("127.0.0.1:0", Some(Arc::new(config.unwrap())), script)
    }

    /// The same, for clients with a certificate of that authority only.
    pub(crate) fn demanding(
        files: &ServerFiles,
        authority: &std::path::Path,
        script: impl Fn(&Request, &mut Line) -> Then + Send + Sync + 'static,
    ) -> Far {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(read_chain(authority).unwrap());
        let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(
            Arc::new(roots),
            Arc::clone(&provider),
        );
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(read_chain(&files.cert).unwrap(), read_key(&files.key).unwrap());
        Far::open("127.0.0.1:0", Some(Arc::new(config.unwrap())), script)
    }

    fn open(
        listen: &str,
        tls: Option<Arc<rustls::ServerConfig>>,
        script: impl Fn(&Request, &mut Line) -> Then + Send + Sync + 'static,
    ) -> Far {
        let secure = tls.is_some();
        let listener = TcpListener::bind(listen).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(FarState::default());
        let (theirs, script): (_, Script) = (Arc::clone(&state), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if theirs.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                theirs.connections.fetch_add(1, Ordering::SeqCst);
                let (state, script, tls) = (Arc::clone(&theirs), Arc::clone(&script), tls.clone());
                std::thread::spawn(move || serve(stream, tls, &state, &script));
            }
        });
        Far { address, secure, state }
    }

    /// Serves a file as a good server does, with ranges, an ETag and a digest.
    pub(crate) fn serving(file: Vec<u8>) -> Far {
        Far::new(move |request, line| serve_file(&file, request, line))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        match self.secure {
            false => format!("http://{}/far/file?authz=SECRET", self.address),
            true => format!("https://localhost:{}/far/file?authz=SECRET", self.address.port()),
        }
    }

    /// Requests so far: "HEAD /path", in order of arrival.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }

    pub(crate) fn methods(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.method).collect()
    }

    /// The certificate that each TLS client showed, in order of arrival.
    pub(crate) fn shown(&self) -> Vec<Option<Vec<u8>>> {
        self.state.shown.lock().unwrap().clone()
    }

    /// Connections that were made.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // Ends the accept.
        let _ = TcpStream::connect(self.address);
    }
}

/// HEAD and GET of a file.
pub(crate) fn serve_file(file: &[u8], request: &Request, line: &mut Line) -> Then {
    let digest = super::adler32(file);
    let common = format!("ETag: \"v1\"\r\nAccept-Ranges: bytes\r\nDigest: adler32={}\r\n", digest.hex());
    match (request.method.as_str(), request.range()) {
        ("HEAD", _) => {
            line.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{common}\r\n", file.len()));
        }
        ("GET", None) => line.answer("200 OK", &common, file),
        ("GET", Some((first, last))) => {
            let headers = format!("{common}Content-Range: bytes {first}-{last}/{}\r\n", file.len());
            line.answer("206 Partial Content", &headers, &file[first..=last]);
        }
        _ => line.answer("405 Method Not Allowed", "", b""),
    }
    Then::Keep
}

fn serve(mut stream: TcpStream, tls: Option<Arc<rustls::ServerConfig>>, state: &FarState, script: &Script) {
    // A story that forgets a connection must not keep the test alive.
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.set_nodelay(true).unwrap();
    let tcp = stream.try_clone().unwrap();
    let stream: Box<dyn Talk> = match tls {
        None => Box::new(stream),
        Some(config) => {
            let mut talk = rustls::ServerConnection::new(config).unwrap();
            while talk.is_handshaking() {
                if talk.complete_io(&mut stream).is_err() {
                    return;
                }
            }
            let first = talk.peer_certificates().and_then(<[_]>::first).map(|der| der.to_vec());
            state.shown.lock().unwrap().push(first);
            Box::new(rustls::StreamOwned::new(talk, stream))
        }
    };
    let mut line = Line { stream, tcp };
    while let Some(request) = read_head(&mut line.stream, state) {
        if script(&request, &mut line) == Then::Close {
            break;
        }
    }
    // A TLS stream that is only dropped says no goodbye, which is what most scripts want; the sockets close here.
}

fn read_head(stream: &mut Box<dyn Talk>, state: &FarState) -> Option<Request> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(0) => return None,
            Ok(_) => head.push(byte[0]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap().split(' ');
    let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut requests = state.requests.lock().unwrap();
    let number = requests.iter().filter(|request| request.method == method).count();
    let request = Request { method, target, headers, number };
    requests.push(request.clone());
    Some(request)
}
