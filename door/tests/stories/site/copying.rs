//! A client that asks for a copy, and reads its markers as they come.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::markers::Markers;
use super::{PATIENCE, Site};

/// A source that no story ever connects to.
pub const SOURCE: &str = "https://source.example.org/data/file";

/// A COPY whose answer is being read. Dropping it is going away.
pub struct Copying {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// What has come so far.
    pub text: String,
    pub trailers: Option<HeaderMap>,
    body: Incoming,
    connection: JoinHandle<()>,
}

impl Drop for Copying {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Site {
    /// A COPY with the site's token. Returns when the head of the answer is there.
    pub async fn copy(&self, path: &str, headers: &[(&str, &str)]) -> Copying {
        let bearer = format!("Bearer {}", self.token());
        let all: Vec<_> = headers.iter().copied().chain([("authorization", bearer.as_str())]).collect();
        self.copy_as(path, &all).await
    }

    /// A COPY with just these headers.
    pub async fn copy_as(&self, path: &str, headers: &[(&str, &str)]) -> Copying {
        let exchange = async {
            let stream = TcpStream::connect(self.address()).await.unwrap();
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            let connection = tokio::spawn(async move {
                // It ends with the story, or as the story wants it.
                let _ = connection.await;
            });
            let mut request =
                Request::builder().method("COPY").uri(path).header(HOST, self.address().to_string());
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.body(Empty::<Bytes>::new()).unwrap();
            let (head, body) = sender.send_request(request).await.unwrap().into_parts();
            let (status, headers) = (head.status, head.headers);
            Copying { status, headers, text: String::new(), trailers: None, body, connection }
        };
        tokio::time::timeout(PATIENCE, exchange).await.expect("no answer")
    }

    /// A pull from [`SOURCE`] that the pool has been asked for.
    pub async fn pull(&self, path: &str, headers: &[(&str, &str)]) -> Copying {
        let asked = self.pool.requests().len();
        let all: Vec<_> = headers.iter().copied().chain([("source", SOURCE)]).collect();
        let copying = self.copy(path, &all).await;
        assert_eq!(copying.status, StatusCode::ACCEPTED);
        self.eventually("the pool is asked", async |site| site.pool.requests().len() > asked).await;
        copying
    }

    /// Waits until the door attends nothing and the pool remembers nothing.
    pub async fn all_settled(&self) {
        self.eventually("all is settled", async |site| {
            site.pool.unsettled() == 0 && site.door.as_ref().unwrap().transfers() == 0
        })
        .await;
    }
}

impl Copying {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Reads on until this has come.
    pub async fn until(&mut self, part: &str) {
        while !self.text.contains(part) {
            assert!(self.read().await, "the stream ended before {part:?} came:\n{}", self.text);
        }
    }

    /// Reads to the end.
    pub async fn end(&mut self) -> Markers {
        while self.read().await {}
        Markers::parse(&self.text)
    }

    /// Reads to the end of a refusal.
    pub async fn refusal(&mut self) -> &str {
        while self.read().await {}
        &self.text
    }

    /// Whether nothing comes for a time.
    pub async fn is_silent(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.body.frame()).await.is_err()
    }

    async fn read(&mut self) -> bool {
        let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("the stream has stalled");
        let Some(frame) = frame.map(Result::unwrap) else { return false };
        match frame.into_data() {
            Ok(data) => self.text.push_str(std::str::from_utf8(&data).unwrap()),
            Err(frame) => self.trailers = frame.into_trailers().ok(),
        }
        true
    }
}
