//! A server that answers as a story tells it: for what no real server says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// A connection that a story forgets does not keep its thread for ever.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);
/// A request's head is at most so long.
const MOST_HEAD_BYTES: usize = 64 << 10;

/// A request's head.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path and query.
    pub target: String,
    /// The whole head, as it came.
    pub head: String,
}

/// One connection, in the hands of a script.
pub struct Line(TcpStream);

/// The server. Its connections end when it is dropped, or their scripts do.
pub struct Scripted {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    stopped: Arc<AtomicBool>,
}

type Script = Arc<dyn Fn(&Request, &mut Line) + Send + Sync>;

impl Line {
    /// Sends; a client that has gone is no matter.
    pub fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.0.write_all(bytes.as_ref());
    }

    /// Stays silent until the client goes.
    pub fn wait_until_gone(&mut self) {
        let _ = std::io::copy(&mut self.0, &mut std::io::sink());
    }

    /// Takes so many bytes of a body, or what comes of them.
    pub fn take(&mut self, bytes: u64) {
        let _ = std::io::copy(&mut (&mut self.0).take(bytes), &mut std::io::sink());
    }

    /// Has the connection end with a reset, when the script does.
    pub fn reset(&mut self) {
        let _ = rustix::net::sockopt::set_socket_linger(&self.0, Some(Duration::ZERO));
    }
}

impl Scripted {
    /// Gives every connection's first request to the script, and closes the connection when that returns.
    #[must_use]
    pub fn start(script: impl Fn(&Request, &mut Line) + Send + Sync + 'static) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let address = listener.local_addr().expect("a listener has an address");
        let (requests, stopped) = (Arc::new(Mutex::default()), Arc::new(AtomicBool::new(false)));
        let server = Scripted { address, requests: Arc::clone(&requests), stopped: Arc::clone(&stopped) };
        let script: Script = Arc::new(script);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (script, requests) = (Arc::clone(&script), Arc::clone(&requests));
                thread::spawn(move || serve(stream, &script, &requests));
            }
        });
        server
    }

    /// Its URL of a path that begins with `/`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Ends the accept.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(stream: TcpStream, script: &Script, requests: &Mutex<Vec<Request>>) {
    let _ = stream.set_read_timeout(Some(LONGEST_SILENCE));
    let _ = stream.set_write_timeout(Some(LONGEST_SILENCE));
    let _ = stream.set_nodelay(true);
    let mut line = Line(stream);
    let Some(request) = read_head(&mut line.0) else { return };
    requests.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
    script(&request, &mut line);
}

fn read_head(stream: &mut TcpStream) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if head.len() >= MOST_HEAD_BYTES || stream.read(&mut byte).unwrap_or(0) == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut words = head.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    Some(Request { method, target, head })
}
