//! An HTTP client that takes a daemon's death for what it is: a request either has a whole answer, or none.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A daemon that lives answers within this time.
const ANSWER_TIME: Duration = Duration::from_secs(20);
/// Bytes of a chunk of an upload in chunks.
const CHUNK_BYTES: usize = 50_000;
/// Bytes of an answer's head, at most.
const HEAD_MAX_BYTES: usize = 64 << 10;

/// Where a request goes, and what the door wants to see.
#[derive(Debug, Clone)]
pub struct Door {
    /// Where it listens.
    pub address: SocketAddr,
    /// The bearer token.
    pub token: String,
}

/// How an upload's body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// With its length in the head.
    Length,
    /// In chunks.
    Chunks,
}

impl Framing {
    fn header(self, body: &[u8]) -> String {
        match self {
            Framing::Length => format!("Content-Length: {}\r\n", body.len()),
            Framing::Chunks => "Transfer-Encoding: chunked\r\n".to_owned(),
        }
    }
}

/// Which way an upload takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the pool, where the door sends it.
    Redirected,
    /// Through the door.
    Proxied,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    fn redirect(&self) -> io::Result<(SocketAddr, String)> {
        let location = self.header("Location").and_then(|location| location.strip_prefix("http://"));
        let (address, path) =
            location.and_then(|rest| rest.split_once('/')).ok_or_else(|| bad("Location"))?;
        Ok((address.parse().map_err(|_| bad("Location"))?, format!("/{path}")))
    }
}

/// How a third-party copy ended.
#[derive(Debug)]
pub enum Copied {
    /// `success: Created`.
    Success,
    /// `failure:`, and why; or a refusal.
    Failure(String),
}

impl Door {
    /// Downloads from where the door says: all of it, or the bytes from the first to the last, that included.
    pub fn get(&self, path: &str, range: Option<(u64, u64)>) -> io::Result<Answer> {
        let range = range.map(|(first, last)| format!("Range: bytes={first}-{last}\r\n")).unwrap_or_default();
        let answer = exchange(self.address, &self.head("GET", path, &range), None)?;
        if answer.status != 307 {
            return Ok(answer);
        }
        let (pool, target) = answer.redirect()?;
        let headers = format!("Want-Digest: adler32\r\n{range}");
        exchange(pool, &head("GET", &target, pool, &headers), None)
    }

    /// Uploads, past the door, with another header at the pool.
    pub fn put_stating(&self, path: &str, body: &[u8], header: &str) -> io::Result<Answer> {
        let length = format!("Content-Length: {}\r\n", body.len());
        let waiting = format!("{length}{header}Expect: 100-continue\r\n");
        let answer =
            exchange(self.address, &self.head("PUT", path, &waiting), Some((body, Framing::Length)))?;
        if answer.status != 307 {
            return Ok(answer);
        }
        let (pool, target) = answer.redirect()?;
        let headers = format!("{length}{header}");
        exchange(pool, &head("PUT", &target, pool, &headers), Some((body, Framing::Length)))
    }

    /// Begins an upload, past the door, sends some bytes of its body and goes away.
    pub fn give_up(&self, path: &str, body: &[u8], sent: usize, framing: Framing) -> io::Result<()> {
        let length = framing.header(body);
        let waiting = format!("{length}Expect: 100-continue\r\n");
        let answer = exchange(self.address, &self.head("PUT", path, &waiting), None)?;
        if answer.status != 307 {
            return Err(bad("redirect"));
        }
        let (pool, target) = answer.redirect()?;
        let mut stream = connect(pool)?;
        stream.write_all(head("PUT", &target, pool, &length).as_bytes())?;
        match framing {
            Framing::Length => stream.write_all(&body[..sent]),
            Framing::Chunks => {
                stream.write_all(format!("{:x}\r\n", body.len()).as_bytes())?;
                stream.write_all(&body[..sent])
            }
        }
    }

    /// Uploads.
    pub fn put(&self, path: &str, body: &[u8], framing: Framing, way: Way) -> io::Result<Answer> {
        let length = framing.header(body);
        let upload = Some((body, framing));
        if way == Way::Proxied {
            return exchange(self.address, &self.head("PUT", path, &length), upload);
        }
        let waiting = format!("{length}Expect: 100-continue\r\n");
        let answer = exchange(self.address, &self.head("PUT", path, &waiting), upload)?;
        if answer.status != 307 {
            return Ok(answer);
        }
        let (pool, target) = answer.redirect()?;
        exchange(pool, &head("PUT", &target, pool, &length), upload)
    }

    /// Has the pool fetch a file from another server, over so many streams. Waits for the last line.
    pub fn copy_from(&self, path: &str, source: SocketAddr, streams: u64) -> io::Result<Copied> {
        let headers =
            format!("Source: http://{source}/file\r\nCredential: none\r\nX-Number-Of-Streams: {streams}\r\n");
        let mut stream = connect(self.address)?;
        stream.write_all(self.head("COPY", path, &headers).as_bytes())?;
        let mut unread = Vec::new();
        let head = read_head(&mut stream, &mut unread)?;
        if status(&head)? != 202 {
            return Ok(Copied::Failure(head.lines().next().unwrap_or_default().to_owned()));
        }
        loop {
            let text = String::from_utf8_lossy(&unread);
            if text.contains("success: Created\n") {
                return Ok(Copied::Success);
            }
            let failure = text.lines().find_map(|line| line.strip_prefix("failure: "));
            if let Some(failure) = failure.filter(|_| text.ends_with('\n')) {
                return Ok(Copied::Failure(failure.to_owned()));
            }
            receive(&mut stream, &mut unread)?;
        }
    }

    /// Deletes.
    pub fn delete(&self, path: &str) -> io::Result<Answer> {
        exchange(self.address, &self.head("DELETE", path, ""), None)
    }

    fn head(&self, method: &str, path: &str, headers: &str) -> String {
        head(method, path, self.address, &format!("Authorization: Bearer {}\r\n{headers}", self.token))
    }
}

fn head(method: &str, target: &str, host: SocketAddr, headers: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n")
}

/// One request and its answer, on a connection of its own. With `Expect` the body goes after a 100 only.
fn exchange(address: SocketAddr, head: &str, upload: Option<(&[u8], Framing)>) -> io::Result<Answer> {
    let mut stream = connect(address)?;
    let waits = head.contains("Expect: 100-continue");
    // A refusal may come before all was sent, so that a write that fails is no end yet: the answer tells, or its lack.
    let mut sent = stream.write_all(head.as_bytes());
    if !waits && let Some((body, framing)) = upload {
        sent = sent.and_then(|()| send_body(&mut stream, body, framing));
    }
    let mut unread = Vec::new();
    let mut answer_head = read_head(&mut stream, &mut unread)?;
    if status(&answer_head)? == 100 {
        if waits && let Some((body, framing)) = upload {
            sent = sent.and_then(|()| send_body(&mut stream, body, framing));
        }
        answer_head = read_head(&mut stream, &mut unread)?;
    }
    let mut answer = Answer { status: status(&answer_head)?, head: answer_head, body: Vec::new() };
    // RFC 9112 §6.3: 204 has no body; all others say here how long it is.
    let length = match (answer.status, answer.header("Content-Length")) {
        (204, _) => 0,
        (_, Some(length)) => length.parse().map_err(|_| bad("Content-Length"))?,
        (_, None) => return Err(bad("Content-Length")),
    };
    while unread.len() < length {
        receive(&mut stream, &mut unread)?;
    }
    unread.truncate(length);
    answer.body = unread;
    if answer.status < 300 {
        // Nobody can have taken what was not sent.
        sent?;
    }
    Ok(answer)
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, ANSWER_TIME)?;
    stream.set_read_timeout(Some(ANSWER_TIME))?;
    stream.set_write_timeout(Some(ANSWER_TIME))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn send_body(stream: &mut TcpStream, body: &[u8], framing: Framing) -> io::Result<()> {
    match framing {
        Framing::Length => stream.write_all(body),
        Framing::Chunks => {
            for chunk in body.chunks(CHUNK_BYTES) {
                stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes())?;
                stream.write_all(chunk)?;
                stream.write_all(b"\r\n")?;
            }
            stream.write_all(b"0\r\n\r\n")
        }
    }
}

fn read_head(stream: &mut TcpStream, unread: &mut Vec<u8>) -> io::Result<String> {
    loop {
        if let Some(end) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = unread.drain(..end + 4).collect::<Vec<_>>();
            return Ok(String::from_utf8_lossy(&head).into_owned());
        }
        if unread.len() > HEAD_MAX_BYTES {
            return Err(bad("head"));
        }
        receive(stream, unread)?;
    }
}

fn receive(stream: &mut TcpStream, unread: &mut Vec<u8>) -> io::Result<()> {
    let mut piece = [0; 64 << 10];
    match stream.read(&mut piece)? {
        0 => Err(io::Error::new(ErrorKind::UnexpectedEof, "the connection ended before the answer's end")),
        count => {
            unread.extend_from_slice(&piece[..count]);
            Ok(())
        }
    }
}

fn status(head: &str) -> io::Result<u16> {
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(|| bad("status"))
}

fn bad(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("an answer without a usable {what}"))
}
