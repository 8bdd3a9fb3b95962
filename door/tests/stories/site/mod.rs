//! A site for the stories: a door in this process, a pool that only pretends to have a disk, and a client.
#![allow(dead_code)] // Each story uses its own part.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Body;
use hyper::header::HOST;
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use penstock_door::{Anonymous, Config, Door, PoolAccess, PoolConfig, RunningDoor};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub mod copying;
pub mod log;
pub mod markers;
pub mod pool;

pub use pool::FakePool;

/// Nothing in a story takes this long unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A door with one pool, in a directory of its own.
pub struct Site {
    pub directory: tempfile::TempDir,
    pub pool: FakePool,
    pub door: Option<RunningDoor>,
    config: Config,
    token: String,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Site {
    /// A site as it is after its first start.
    pub async fn open() -> Self {
        Self::open_with(|_| ()).await
    }

    /// A site with some keys of its configuration changed.
    pub async fn open_with(change: impl FnOnce(&mut Config)) -> Self {
        let mut site = Self::prepare(change).await;
        site.start_door().await;
        site
    }

    /// A site whose door has not been started.
    pub async fn prepare(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| -> PathBuf { directory.path().join(name) };
        let pool = FakePool::start(path("pool.sock")).await;
        let pools = vec![PoolConfig {
            name: "pool01".parse().unwrap(),
            access: PoolAccess::Socket(path("pool.sock")),
        }];
        let mut config = Config::new(path("namespace.db"), path("keys"), pools);
        config.listen = Some("127.0.0.1:0".parse().unwrap());
        config.anonymous = Anonymous::Write;
        change(&mut config);
        penstock_door::init_first_token(&path("token"), &path("keys"), "http://door").unwrap();
        let token = std::fs::read_to_string(path("token")).unwrap().trim().to_owned();
        Self { pool, door: None, config, token, directory }
    }

    pub async fn start_door(&mut self) {
        let door = Door::start(self.config.clone()).await.unwrap();
        if self.pool.is_running() {
            assert!(door.wait_for_pools(PATIENCE).await, "the pool does not answer");
        }
        self.door = Some(door);
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub async fn stop_door(&mut self) {
        self.door.take().unwrap().stop().await;
    }

    pub fn address(&self) -> SocketAddr {
        self.door.as_ref().unwrap().address()
    }

    /// The site's first token: everything is allowed.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Sends one request to the door.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let length = body.len().to_string();
        // hyper's client leaves it out for an empty body.
        let length = (method == "PUT").then_some(("content-length", length.as_str()));
        let headers: Vec<_> = headers.iter().copied().chain(length).collect();
        send(self.address(), method, path, &headers, Full::new(Bytes::copy_from_slice(body))).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"").await
    }

    pub async fn head(&self, path: &str) -> Reply {
        self.send("HEAD", path, &[], b"").await
    }

    pub async fn put(&self, path: &str, body: &[u8]) -> Reply {
        self.send("PUT", path, &[], body).await
    }

    /// Sends the head of a PUT and waits for the answer without sending the body.
    pub async fn put_expecting(&self, path: &str, headers: &str, length: usize) -> RawReply {
        let head = format!(
            "PUT {path} HTTP/1.1\r\nHost: door\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        let mut raw = RawClient::connect(self.address()).await;
        raw.write(head.as_bytes()).await;
        raw.read_head().await
    }

    /// Waits until something holds.
    pub async fn eventually(&self, what: &str, mut holds: impl AsyncFnMut(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !holds(self).await {
            assert!(tokio::time::Instant::now() < deadline, "it never came to this: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Sends one request on a connection of its own.
pub async fn send<B>(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: B,
) -> Reply
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let exchange = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header(HOST, address.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = sender.send_request(request.body(body).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        Reply { status: head.status, headers: head.headers, body: body.collect().await.unwrap().to_bytes() }
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("no answer")
}

/// Follows the URL of a redirect.
pub async fn send_to(url: &str, method: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let uri: hyper::Uri = url.parse().unwrap();
    let address = uri.authority().unwrap().as_str().parse().unwrap();
    let body = Full::new(Bytes::copy_from_slice(body));
    send(address, method, uri.path_and_query().unwrap().as_str(), headers, body).await
}

/// The head of an answer, byte by byte from the socket.
#[derive(Debug)]
pub struct RawReply {
    pub head: String,
}

impl RawReply {
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub fn location(&self) -> &str {
        self.head.lines().find_map(|line| line.strip_prefix("location: ")).expect("no Location")
    }
}

/// A client that sends just what it is told.
pub struct RawClient {
    stream: TcpStream,
}

impl RawClient {
    pub async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap() }
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Reads to the empty line after a head.
    pub async fn read_head(&mut self) -> RawReply {
        let mut bytes = Vec::new();
        let read = async {
            while !bytes.ends_with(b"\r\n\r\n") {
                bytes.push(self.stream.read_u8().await.expect("closed before the end of the head"));
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("no answer");
        RawReply { head: String::from_utf8(bytes).unwrap() }
    }

    /// Reads so many bytes of a body.
    pub async fn skip(&mut self, bytes: usize) {
        let mut body = vec![0; bytes];
        let read = self.stream.read_exact(&mut body);
        tokio::time::timeout(PATIENCE, read).await.expect("no body").expect("closed in the body");
    }

    /// Reads until this has come.
    pub async fn read_until(&mut self, end: &str) {
        let mut bytes = Vec::new();
        let read = async {
            while !bytes.ends_with(end.as_bytes()) {
                bytes.push(self.stream.read_u8().await.expect("closed too early"));
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("it never came");
    }

    /// Reads until the other side closes.
    pub async fn read_to_end(&mut self) -> String {
        let mut text = String::new();
        tokio::time::timeout(PATIENCE, self.stream.read_to_string(&mut text)).await.expect("no end").unwrap();
        text
    }
}
