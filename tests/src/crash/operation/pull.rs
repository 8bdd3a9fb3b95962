//! Third-party copies: the pool fetches a file from another server, which here is the client's own and now and then
//! breaks the connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::crash::client::{Client, End};
use crate::crash::http::Copied;
use crate::crash::record::State;
use crate::files;

/// A server that waits longer than this for a request has a pool that is dead.
const REQUEST_TIME: Duration = Duration::from_secs(5);

/// Has another content copied to one of its own paths.
pub fn run(client: &mut Client<'_>) -> End {
    let content = client.scene.source.cut(&mut client.random);
    let (streams, breaks) = (1 + client.random.below(3), client.random.one_in(4));
    let slot = client.any_slot();
    let path = client.slots[slot].path.clone();
    let body = client.scene.source.bytes(&content);
    let Ok(remote) = Remote::bind(body, breaks) else { return End::Idle };
    let copied = thread::scope(|scope| {
        scope.spawn(|| remote.serve());
        let copied = client.scene.door.copy_from(&path, remote.address, streams);
        remote.stop();
        copied
    });
    let (slot, killed) = (&mut client.slots[slot], client.scene.killed.load(Ordering::SeqCst));
    match copied {
        Ok(Copied::Success) => {
            (slot.state, slot.unanswered) = (State::File(content), None);
            End::Good
        }
        Ok(Copied::Failure(text)) if !killed => End::Wrong(format!("wrong: a copy to {path} fails: {text}")),
        Ok(Copied::Failure(text)) => {
            slot.unanswered = Some(State::File(content));
            End::Unanswered(format!("a copy to {path} fails: {text}"))
        }
        Err(error) => {
            slot.unanswered = Some(State::File(content));
            End::Unanswered(format!("no end of a copy to {path}: {error}"))
        }
    }
}

/// A server with one file.
struct Remote<'a> {
    listener: TcpListener,
    address: SocketAddr,
    body: &'a [u8],
    /// Still to break the connection once, in the middle of the file.
    breaks: AtomicBool,
    stopped: AtomicBool,
}

impl<'a> Remote<'a> {
    fn bind(body: &'a [u8], breaks: bool) -> io::Result<Remote<'a>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, breaks) = (listener.local_addr()?, AtomicBool::new(breaks && body.len() > 1));
        Ok(Remote { listener, address, body, breaks, stopped: AtomicBool::new(false) })
    }

    fn serve(&self) {
        thread::scope(|scope| {
            while let Ok((stream, _)) = self.listener.accept() {
                if self.stopped.load(Ordering::SeqCst) {
                    return;
                }
                // What a pool does that goes away in the middle is for the audit to judge.
                scope.spawn(move || drop(self.answer(stream)));
            }
        });
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }

    /// One request, one answer.
    fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(REQUEST_TIME))?;
        stream.set_write_timeout(Some(REQUEST_TIME))?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let length = self.body.len();
        let (status, part) = match head.lines().find_map(|line| line.strip_prefix("range: bytes=")) {
            Some(range) => ("206 Partial Content", range_of(range, length)?),
            None => ("200 OK", 0..length),
        };
        let mut answer = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nETag: \"one\"\r\nAccept-Ranges: bytes\r\n\
             Digest: adler32={}\r\nConnection: close\r\n",
            part.len(),
            files::adler32_hex(self.body),
        );
        if status.starts_with("206") {
            let last = part.end.saturating_sub(1);
            answer.push_str(&format!("Content-Range: bytes {}-{last}/{length}\r\n", part.start));
        }
        answer.push_str("\r\n");
        stream.write_all(answer.as_bytes())?;
        if head.starts_with("head ") {
            return Ok(());
        }
        let bytes = &self.body[part];
        if bytes.len() > 1 && self.breaks.swap(false, Ordering::SeqCst) {
            return stream.write_all(&bytes[..bytes.len() / 2]);
        }
        stream.write_all(bytes)
    }
}

/// `first-last` or `first-`.
fn range_of(text: &str, length: usize) -> io::Result<std::ops::Range<usize>> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "a range that no pool should ask for");
    let (first, last) = text.trim().split_once('-').ok_or_else(bad)?;
    let first: usize = first.parse().map_err(|_| bad())?;
    let end = match last {
        "" => length,
        last => last.parse::<usize>().map_err(|_| bad())?.saturating_add(1).min(length),
    };
    if first < end { Ok(first..end) } else { Err(bad()) }
}
