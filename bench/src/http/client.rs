//! One connection to a server, and requests on it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::ops::Range;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::Location;
use crate::terminal::Interrupt;

/// What is read at once: large, so that the client is not what limits.
const BUFFER_BYTES: usize = 1 << 20;
/// The same where files are small, and clients many.
const SMALL_BUFFER_BYTES: usize = 64 << 10;
/// The longest head of an answer.
const MOST_HEAD_BYTES: usize = 16 << 10;
/// Fields of an answer's head.
const MOST_FIELDS: usize = 64;
/// How often it is looked for an interrupt while nothing comes.
const LOOK: Duration = Duration::from_millis(500);
/// A server that does not move a byte for so long has failed.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection.
    #[error("cannot connect to {authority}: {error}")]
    Connect {
        /// Where to.
        authority: String,
        /// What the system said.
        error: io::Error,
    },
    /// The connection broke, or nothing came.
    #[error("the connection to {authority} failed: {error}")]
    Connection {
        /// Where to.
        authority: String,
        /// What the system said.
        error: io::Error,
    },
    /// The server refused.
    #[error("{authority} answered {status}: {text}")]
    Refused {
        /// Who.
        authority: String,
        /// The status code.
        status: u16,
        /// The first line of its body.
        text: String,
    },
    /// What came is no HTTP, or not what was asked for.
    #[error("{authority} answered nonsense: {what}")]
    Nonsense {
        /// Who.
        authority: String,
        /// In which way.
        what: &'static str,
    },
    /// The user has had enough.
    #[error("interrupted")]
    Interrupted,
}

/// A client with at most one open connection.
pub struct Client {
    interrupt: Interrupt,
    connection: Option<Connection>,
    buffer: Vec<u8>,
    /// The addresses of the last server, so that a name is not looked up for each connection.
    resolved: Option<(String, Vec<SocketAddr>)>,
}

/// What a request without a body was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status; 100 when the server wants the body that was announced with `Expect`.
    pub status: u16,
    /// Where it leads to, of a redirect.
    pub location: Option<String>,
    /// The first line of its body, of a refusal.
    pub text: String,
}

struct Connection {
    authority: String,
    stream: TcpStream,
}

/// An answer's head.
struct Head {
    status: u16,
    /// Bytes of the body, if they are told.
    length: Option<u64>,
    /// The server closes behind it.
    close: bool,
    /// Of a redirect.
    location: Option<String>,
    /// Bytes of the body that came along, at the beginning of the buffer.
    ahead: usize,
}

impl Client {
    /// Connected to nothing yet.
    pub fn new(interrupt: &Interrupt) -> Self {
        Self::with_buffer(interrupt, BUFFER_BYTES)
    }

    /// For small files.
    pub fn small(interrupt: &Interrupt) -> Self {
        Self::with_buffer(interrupt, SMALL_BUFFER_BYTES)
    }

    fn with_buffer(interrupt: &Interrupt, bytes: usize) -> Self {
        Self { interrupt: interrupt.clone(), connection: None, buffer: vec![0; bytes], resolved: None }
    }

    /// A request without a body, whatever the answer. `fields`: more lines of its head, each with its end. With
    /// `Expect` in them, the answer may be 100; the connection is of no use then.
    pub fn ask(&mut self, at: &Location, method: &str, fields: &str) -> Result<Answer, HttpError> {
        let head = format!("{method} {} HTTP/1.1\r\nHost: {}\r\n{fields}\r\n", at.target, at.authority);
        self.on_a_connection(at, |client| {
            client.send(head.as_bytes())?;
            let answer = client.head_or(100)?;
            let (status, location) = (answer.status, answer.location.clone());
            if status == 100 || (answer.length.is_none() && status != 204) {
                // What follows is not wanted, or ends with the connection.
                client.connection = None;
                return Ok(Answer { status, location, text: String::new() });
            }
            let text = match client.body(&answer, status < 400) {
                Ok(_) => String::new(),
                Err(HttpError::Refused { text, .. }) => text,
                Err(error) => return Err(error),
            };
            if answer.close && status >= 400 {
                client.hang_up();
            }
            Ok(Answer { status, location, text })
        })
    }

    /// Reads a whole file, or a range of it. Gives the bytes of the body.
    pub fn get(&mut self, at: &Location, range: Option<Range<u64>>) -> Result<u64, HttpError> {
        let range = range.map_or_else(String::new, |range| {
            format!("Range: bytes={}-{}\r\n", range.start, range.end.saturating_sub(1))
        });
        let head = format!("GET {} HTTP/1.1\r\nHost: {}\r\n{range}\r\n", at.target, at.authority);
        self.on_a_connection(at, |client| {
            client.send(head.as_bytes())?;
            let answer = client.head()?;
            client.body(&answer, matches!(answer.status, 200 | 206))
        })
    }

    /// Writes a file of so many bytes, the payload over and over. The server must answer 201 or 204.
    pub fn put(&mut self, at: &Location, size_bytes: u64, payload: &[u8]) -> Result<(), HttpError> {
        let head = format!(
            "PUT {} HTTP/1.1\r\nHost: {}\r\nContent-Length: {size_bytes}\r\n\r\n",
            at.target, at.authority
        );
        // A small file goes out together with its head.
        let together = size_bytes as usize <= payload.len().min(64 << 10);
        self.on_a_connection(at, |client| {
            let mut first = head.clone().into_bytes();
            if together {
                first.extend_from_slice(&payload[..size_bytes as usize]);
            }
            let mut sent = client.send(&first);
            let mut left = if together { 0 } else { size_bytes };
            while left > 0 && sent.is_ok() {
                let piece = payload.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                sent = client.send(&payload[..piece]);
                left -= piece as u64;
            }
            // A server that refuses may close before it has read everything; its answer says more than the broken pipe.
            match client.head() {
                Ok(answer) => client.body(&answer, matches!(answer.status, 201 | 204)).map(|_| ()),
                Err(error) => sent.and(Err(error)),
            }
        })
    }

    /// Makes a request on the open connection, or on a new one. A kept one that the server has closed meanwhile, which
    /// fails before a byte has come, is tried once more on a new one.
    fn on_a_connection<T>(
        &mut self,
        at: &Location,
        request: impl Fn(&mut Self) -> Result<T, HttpError>,
    ) -> Result<T, HttpError> {
        let kept = self.connection.as_ref().is_some_and(|open| open.authority == at.authority);
        if !kept {
            self.connect(&at.authority)?;
        }
        let mut result = request(self);
        if kept && matches!(&result, Err(HttpError::Connection { .. })) {
            self.connect(&at.authority)?;
            result = request(self);
        }
        if result.is_err() {
            self.connection = None;
        }
        result
    }

    fn connect(&mut self, authority: &str) -> Result<(), HttpError> {
        self.connection = None;
        let failed = |error| HttpError::Connect { authority: authority.to_owned(), error };
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        let known = self.resolved.take().filter(|(name, _)| name == authority);
        let (name, addresses) = match known {
            Some(known) => known,
            None => (authority.to_owned(), authority.to_socket_addrs().map_err(failed)?.collect()),
        };
        let tried = addresses.clone();
        self.resolved = Some((name, addresses));
        for address in tried {
            match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(failed)?;
                    stream.set_read_timeout(Some(LOOK)).map_err(failed)?;
                    stream.set_write_timeout(Some(LOOK)).map_err(failed)?;
                    self.connection = Some(Connection { authority: authority.to_owned(), stream });
                    return Ok(());
                }
                Err(error) => last = error,
            }
        }
        Err(failed(last))
    }

    /// Closes a connection on which everything was said. The server closes too, and whoever closes first keeps the
    /// port for a minute (TIME_WAIT, RFC 9293 §3.3.2): a thousand connections a second would use them up. A reset
    /// leaves none, and loses nothing.
    fn hang_up(&mut self) {
        if let Some(open) = self.connection.take() {
            // At worst the port is kept.
            let _ = SockRef::from(&open.stream).set_linger(Some(Duration::ZERO));
        }
    }

    fn broken(&self, error: io::Error) -> HttpError {
        HttpError::Connection { authority: self.authority(), error }
    }

    fn nonsense(&self, what: &'static str) -> HttpError {
        HttpError::Nonsense { authority: self.authority(), what }
    }

    fn authority(&self) -> String {
        self.connection.as_ref().map_or_else(String::new, |open| open.authority.clone())
    }

    /// One read or write; again when nothing moved for a moment.
    fn patiently(
        &mut self,
        step: impl Fn(&mut TcpStream, &mut [u8]) -> io::Result<usize>,
    ) -> Result<usize, HttpError> {
        let since = Instant::now();
        loop {
            let Some(open) = &mut self.connection else {
                return Err(self.broken(io::ErrorKind::NotConnected.into()));
            };
            match step(&mut open.stream, &mut self.buffer) {
                Ok(count) => return Ok(count),
                Err(error) => match error.kind() {
                    _ if self.interrupt.came() => return Err(HttpError::Interrupted),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut if since.elapsed() < PATIENCE => {}
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(self.broken(error)),
                },
            }
        }
    }

    fn send(&mut self, mut bytes: &[u8]) -> Result<(), HttpError> {
        while !bytes.is_empty() {
            let count = self.patiently(|stream, _| stream.write(bytes))?;
            if count == 0 {
                return Err(self.broken(io::ErrorKind::WriteZero.into()));
            }
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Reads a head, past interim answers (RFC 9110 §15.2).
    fn head(&mut self) -> Result<Head, HttpError> {
        // No interim answer has that number.
        self.head_or(0)
    }

    /// The same, but not past interim answers of one status.
    fn head_or(&mut self, interim: u16) -> Result<Head, HttpError> {
        let mut filled = 0;
        loop {
            let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
            let mut answer = httparse::Response::new(&mut fields);
            match answer.parse(&self.buffer[..filled]) {
                Err(_) => return Err(self.nonsense("its head is malformed")),
                Ok(httparse::Status::Partial) if filled >= MOST_HEAD_BYTES => {
                    return Err(self.nonsense("its head has no end"));
                }
                Ok(httparse::Status::Partial) => {
                    let from = filled;
                    match self.patiently(|stream, buffer| stream.read(&mut buffer[from..]))? {
                        0 => return Err(self.broken(io::ErrorKind::UnexpectedEof.into())),
                        count => filled += count,
                    }
                }
                Ok(httparse::Status::Complete(end)) => {
                    let status = answer.code.unwrap_or(0);
                    let field = |name: &str| {
                        let found = answer.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
                        found.and_then(|field| std::str::from_utf8(field.value).ok())
                    };
                    let length = field("content-length").and_then(|value| value.trim().parse().ok());
                    let close = field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
                    let location = match status {
                        300..400 => field("location").map(str::to_owned),
                        _ => None,
                    };
                    self.buffer.copy_within(end..filled, 0);
                    filled -= end;
                    if status == interim || !(100..200).contains(&status) {
                        return Ok(Head { status, length, close, location, ahead: filled });
                    }
                }
            }
        }
    }

    /// Reads a body and gives its length; an error with its first line unless all is `good`.
    fn body(&mut self, head: &Head, good: bool) -> Result<u64, HttpError> {
        // RFC 9110 §15.3.5: 204 has none.
        let length = if head.status == 204 { Some(0) } else { head.length };
        let Some(length) = length else {
            return Err(self.nonsense("its body has no length"));
        };
        let mut done = head.ahead as u64;
        let mut text = Vec::new();
        let first = |bytes: &[u8], text: &mut Vec<u8>| {
            let room = 200usize.saturating_sub(text.len()).min(bytes.len());
            text.extend_from_slice(&bytes[..room]);
        };
        if !good {
            first(&self.buffer[..head.ahead], &mut text);
        }
        while done < length {
            let most = self.buffer.len().min(usize::try_from(length - done).unwrap_or(usize::MAX));
            match self.patiently(|stream, buffer| stream.read(&mut buffer[..most]))? {
                0 => return Err(self.broken(io::ErrorKind::UnexpectedEof.into())),
                count => {
                    if !good {
                        first(&self.buffer[..count], &mut text);
                    }
                    done += count as u64;
                }
            }
        }
        if done > length {
            return Err(self.nonsense("more came than its body's length"));
        }
        if !good {
            let text = String::from_utf8_lossy(&text);
            let text = text.lines().next().unwrap_or("").chars().filter(|c| !c.is_control()).collect();
            return Err(HttpError::Refused { authority: self.authority(), status: head.status, text });
        }
        if head.close {
            self.hang_up();
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that answers each request's head with the next of these, on one connection after the other.
    fn server(answers: Vec<Vec<&'static str>>) -> (Location, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = Location::parse(&format!("http://{}/file", listener.local_addr().unwrap())).unwrap();
        let serving = std::thread::spawn(move || {
            let mut heads = Vec::new();
            for answers in answers {
                let (mut stream, _) = listener.accept().unwrap();
                for answer in answers {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let mut byte = [0];
                        stream.read_exact(&mut byte).unwrap();
                        head.push(byte[0]);
                    }
                    let head = String::from_utf8(head).unwrap();
                    if let Some(length) = head.lines().find_map(|line| line.strip_prefix("Content-Length: "))
                    {
                        let mut body = vec![0; length.parse().unwrap()];
                        stream.read_exact(&mut body).unwrap();
                    }
                    heads.push(head);
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            }
            heads
        });
        (at, serving)
    }

    #[test]
    fn requests_share_a_connection_and_open_a_new_one_when_it_was_closed() {
        let ok = "HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\n\r\nabc";
        let (at, serving) =
            server(vec![vec![ok, ok], vec!["HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"]]);
        let mut client = Client::new(&Interrupt::never());
        assert_eq!(client.get(&at, Some(5..8)).unwrap(), 3);
        assert_eq!(client.get(&at, None).unwrap(), 3);
        client.put(&at, 200_000, &[7; 65_536]).unwrap();
        let heads = serving.join().unwrap();
        assert!(heads[0].contains("Range: bytes=5-7\r\n"), "{}", heads[0]);
        assert!(heads[2].starts_with("PUT /file HTTP/1.1\r\n"), "{}", heads[2]);
    }

    #[test]
    fn a_refusal_is_told_with_its_reason_and_interim_answers_are_not_the_answer() {
        let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 507 Full\r\nContent-Length: 9\r\n\r\nno space\n";
        let (at, serving) = server(vec![vec![answer]]);
        let error = Client::new(&Interrupt::never()).put(&at, 10, &[0; 16]).unwrap_err();
        assert!(
            matches!(&error, HttpError::Refused { status: 507, text, .. } if text == "no space"),
            "{error}"
        );
        serving.join().unwrap();
    }

    #[test]
    fn what_ends_too_early_or_is_no_http_is_an_error() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "failed"),
            ("HTTP/1.1 200 OK\r\n\r\n", "no length"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc", "more came"),
            ("SSH-2.0-OpenSSH\r\n\r\n", "malformed"),
        ] {
            let (at, serving) = server(vec![vec![answer]]);
            let error = Client::new(&Interrupt::never()).get(&at, None).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            serving.join().unwrap();
        }
    }

    #[test]
    fn a_redirect_a_refusal_and_leave_to_send_are_answers_alike() {
        let (at, serving) = server(vec![
            vec![
                "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://pool/x\r\nContent-Length: 0\r\n\r\n",
                "HTTP/1.1 401 Unauthorized\r\nContent-Length: 9\r\n\r\nno token\n",
                "HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            ],
            vec!["HTTP/1.1 100 Continue\r\n\r\n"],
        ]);
        let mut client = Client::small(&Interrupt::never());
        let told = |status, location: Option<&str>, text: &str| Answer {
            status,
            location: location.map(str::to_owned),
            text: text.to_owned(),
        };
        assert_eq!(client.ask(&at, "GET", "").unwrap(), told(307, Some("http://pool/x"), ""));
        assert_eq!(client.ask(&at, "MKCOL", "A: b\r\n").unwrap(), told(401, None, "no token"));
        assert_eq!(client.ask(&at, "MKCOL", "").unwrap(), told(201, None, ""));
        let expecting = client.ask(&at, "PUT", "Expect: 100-continue\r\n").unwrap();
        assert_eq!(expecting, told(100, None, ""), "the server wants the body itself");
        let heads = serving.join().unwrap();
        assert!(heads[1].starts_with("MKCOL /file HTTP/1.1\r\nHost: ") && heads[1].contains("\r\nA: b\r\n"));
    }

    #[test]
    fn a_port_that_nobody_listens_on_is_named() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let at = Location::parse(&format!("http://{free}/")).unwrap();
        let error = Client::new(&Interrupt::never()).get(&at, None).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot connect to {free}: ")), "{error}");
    }
}
