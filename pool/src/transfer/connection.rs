//! One connection of the data port: request after request, until one side has enough.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::capability::Capability;
use super::claim::Claim;
use super::desk::{ClaimMethod, Refusal};
use super::input::Input;
use super::link::{ConnectionInfo, TcpInfo};
use super::port::Port;
use super::{TransferId, get, put};
use crate::checksum::Checksum;
use crate::engine::net::{Connection, Received};
use crate::http1::{
    self, BadRequest, HttpDate, Method, Parsed, Request, ResponseHead, TextAnswer, Version, WantedDigests,
};
use crate::marking::{Flow, Supplier};
use crate::store::Replica;
use crate::tls::Wire;

/// The key of the capability in a redirect URL's query.
pub const TRANSFER_KEY: &str = "penstock-transfer";
/// The key of the door's name in a redirect URL's query.
pub const DOOR_KEY: &str = "penstock-door";

/// A connection without a request for that long gives its buffer back.
const BUFFER_PATIENCE: Duration = Duration::from_secs(1);
/// What a client may still send after it was refused, and for how long, so that it can read why: what fast networks
/// bring before a client that is busy with sending looks at the answer.
const LINGER_BYTES: usize = 64 << 20;
const LINGER_TIME: Duration = Duration::from_secs(2);
/// A marked flow without a request for that long has ended.
const FLOW_REST: Duration = Duration::from_secs(5);
/// How long the end of an idle connection may take.
const GOODBYE_TIME: Duration = Duration::from_millis(100);

/// What becomes of the connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// The next request.
    Next,
    /// The answer was the last; the client may still be sending.
    Close,
    /// The answer could not be completed: end at once, so that the client sees it.
    Abort,
}

/// A request in hand, with all that answering it takes.
pub struct Exchange<'a> {
    /// The data port.
    pub port: &'a Port,
    /// The connection, behind the request's head.
    pub input: &'a mut Input,
    /// The head.
    pub request: &'a Request,
    /// The replica that this connection read last: ranges of one file come in series.
    pub last_read: &'a mut Option<Arc<Replica>>,
    /// It is the connection's first request.
    pub first: bool,
    /// What the connection is marked as. It belongs to one transfer: the next one's is its own.
    pub flow: &'a mut Option<Box<MarkedFlow>>,
}

/// A connection's part in a marked transfer.
pub struct MarkedFlow {
    transfer: TransferId,
    flow: Flow,
}

/// Serves a connection to its end.
pub async fn serve(port: &Port, connection: impl Into<Wire>) {
    let mut input = Input::new(connection, port.settings.head_limits.head_bytes);
    let mut last_read = None;
    let (mut flow, mut first) = (None, true);
    loop {
        let request = match next_request_of(port, &mut input, &mut flow).await {
            Next::Request(request) => request,
            Next::End => {
                // Nothing of plain HTTP; with TLS the client hears that it was no accident.
                if input.connection().tls().is_some() {
                    input.connection().end(GOODBYE_TIME).await;
                }
                return;
            }
            Next::Refused(refused) => {
                port.counters.bad_requests.fetch_add(1, Ordering::Relaxed);
                return refuse_connection(port, input, &refused).await;
            }
        };
        port.counters.requests.fetch_add(1, Ordering::Relaxed);
        let mut exchange = Exchange {
            port,
            input: &mut input,
            request: &request,
            last_read: &mut last_read,
            first: std::mem::take(&mut first),
            flow: &mut flow,
        };
        // Answering takes kilobytes of state; the many connections that wait for a request have none of it.
        match Box::pin(exchange.answer()).await {
            After::Next if request.keep_alive() => {}
            After::Next | After::Close => return linger(input).await,
            After::Abort => return,
        }
    }
}

/// Answers a client that speaks plain HTTP where TLS is spoken.
pub async fn refuse_plain(port: &Port, connection: Connection) {
    let refused = BadRequest { status: 400, text: "this port speaks TLS: use https".into() };
    refuse_connection(port, Input::new(connection, port.settings.head_limits.head_bytes), &refused).await;
}

/// Says why a connection is of no use, and ends it.
async fn refuse_connection(port: &Port, input: Input, refused: &BadRequest) {
    let mut answer = Vec::new();
    TextAnswer {
        status: refused.status,
        line: &refused.text,
        keep_alive: false,
        client: Version::Http11,
        head_only: false,
        headers: &[],
    }
    .write(&mut answer, &date());
    let _ = input.connection().send_all(answer, false, port.settings.idle_limit).await;
    linger(input).await;
}

enum Next {
    Request(Box<Request>),
    Refused(BadRequest),
    End,
}

/// The next request. A flow that rests meanwhile ends: more requests of its transfer make another.
async fn next_request_of(port: &Port, input: &mut Input, flow: &mut Option<Box<MarkedFlow>>) -> Next {
    if flow.is_some() {
        // Apart, so that the many connections without a mark have nothing of it.
        return Box::pin(next_request_or_rest(port, input, flow)).await;
    }
    next_request(port, input).await
}

async fn next_request_or_rest(port: &Port, input: &mut Input, flow: &mut Option<Box<MarkedFlow>>) -> Next {
    let resting = input.connection().core().sleep(FLOW_REST);
    match select(std::pin::pin!(next_request(port, input)), resting).await {
        Either::Left((next, _)) => next,
        Either::Right(((), waiting)) => {
            *flow = None;
            waiting.await
        }
    }
}

async fn next_request(port: &Port, input: &mut Input) -> Next {
    let core = input.connection().core().clone();
    let settings = &port.settings;
    let mut head_due_at = None;
    loop {
        if !input.unread().is_empty() {
            match http1::parse(input.unread(), &settings.head_limits) {
                Ok(Parsed::Complete { head, consumed }) => {
                    input.consume(consumed);
                    return Next::Request(head);
                }
                Ok(Parsed::Partial) if input.is_full() => {
                    return Next::Refused(BadRequest {
                        status: 431,
                        text: "the request's head is too long".into(),
                    });
                }
                Ok(Parsed::Partial) => {}
                Err(refused) => return Next::Refused(refused),
            }
        }
        let patience = if input.unread().is_empty() {
            BUFFER_PATIENCE
        } else {
            let due_at = *head_due_at.get_or_insert_with(|| core.now() + settings.head_time);
            due_at.saturating_duration_since(core.now())
        };
        match input.receive_more(patience).await {
            Ok(Received::Bytes(_)) => {}
            Ok(Received::Paused(0)) if input.unread().is_empty() => {
                input.release();
                let connection = input.connection().clone();
                match core.within(settings.keep_alive_limit, connection.readable()).await {
                    Some(Ok(())) => {}
                    Some(Err(_)) | None => return Next::End,
                }
            }
            Ok(Received::Paused(_)) if head_due_at.is_some_and(|due_at| due_at <= core.now()) => {
                let text =
                    format!("the request's head did not come within {} s", settings.head_time.as_secs());
                return Next::Refused(BadRequest { status: 408, text: text.into() });
            }
            Ok(Received::Paused(_)) => {}
            Ok(Received::End) | Err(_) => return Next::End,
        }
    }
}

/// Says that nothing more will be sent, and reads for a while what the client was about to send: closing at once
/// would reset the connection, and the client would lose the answer (RFC 9112 §9.6).
async fn linger(mut input: Input) {
    let connection = input.connection().clone();
    connection.end(LINGER_TIME).await;
    let core = connection.core().clone();
    let drain = async {
        let mut read = 0;
        while read < LINGER_BYTES {
            input.consume(usize::MAX);
            match input.receive_more(LINGER_TIME).await {
                Ok(Received::Bytes(count)) => read += count,
                Ok(Received::End | Received::Paused(_)) | Err(_) => return,
            }
        }
    };
    core.within(LINGER_TIME, drain).await;
}

impl Exchange<'_> {
    async fn answer(&mut self) -> After {
        match self.request.method() {
            Method::Get | Method::Head => get::answer(self).await,
            Method::Put => put::answer(self).await,
            Method::Options => self.options().await,
            Method::Other(method) => {
                let text = format!(
                    "{} is not a method of the data port, which knows GET, HEAD, PUT and OPTIONS",
                    method.escape_default()
                );
                self.refuse_with(501, &text, &[("Allow", ALLOWED)]).await
            }
        }
    }

    async fn options(&mut self) -> After {
        if !self.request.body_length().is_empty() {
            return self.refuse(400, "OPTIONS takes no body here").await;
        }
        let mut answer = Vec::new();
        ResponseHead::new(&mut answer, 204, &date())
            .header("Allow", ALLOWED)
            .header("Accept-Ranges", "bytes")
            .connection(self.request.keep_alive(), self.request.version())
            .finish();
        self.send(answer, After::Next).await
    }

    /// The peer's address.
    pub fn peer(&self) -> SocketAddr {
        self.input.connection().peer()
    }

    /// What the records know the connection by.
    pub fn connection_info(&self) -> ConnectionInfo {
        let connection = self.input.connection();
        ConnectionInfo {
            local: connection.local(),
            remote: connection.peer(),
            tls: connection.tls().is_some(),
            flow_label: connection.tcp().flow_label(),
        }
    }

    /// The bytes of a transfer begin to move. Ranges that follow each other are one flow.
    pub fn begin_flow(&mut self, claim: &Claim, supplier: Supplier) {
        let transfer = claim.transfer();
        let goes_on = |known: &MarkedFlow| known.transfer == transfer.request().id;
        if self.flow.as_deref().is_some_and(goes_on) {
            return;
        }
        // That of another transfer ends before this one begins.
        *self.flow = None;
        if let Some(mark) = transfer.mark() {
            let tcp = self.input.connection().tcp();
            let flow = match self.first {
                true => Flow::first(mark, tcp, supplier),
                false => Flow::new(mark, tcp, supplier),
            };
            flow.begin(tcp.core().now());
            *self.flow = Some(Box::new(MarkedFlow { transfer: transfer.request().id.clone(), flow }));
        }
    }

    /// All bytes of a transfer were moved.
    pub fn complete_flow(&mut self) {
        if let Some(marked) = self.flow.take() {
            marked.flow.complete();
        }
    }

    /// The claim that the request's capability gives, or what became of the connection after refusing it.
    pub async fn claim(&mut self, method: ClaimMethod) -> Result<Claim, After> {
        let door = self.request.query(DOOR_KEY);
        let capability = self.request.query(TRANSFER_KEY);
        let claimed = match capability.as_deref().map(Capability::parse) {
            Some(Some(capability)) => self.port.desk.claim(
                &capability,
                method,
                self.request.path(),
                door.as_deref(),
                self.input.connection().peer(),
            ),
            Some(None) | None => Err(Refusal::Unknown {
                back_to: door.as_deref().and_then(|door| self.port.desk.door_url(door)),
            }),
        };
        match claimed {
            Ok(claim) => Ok(claim),
            Err(refusal) => Err(self.refuse_claim(refusal, capability.is_some()).await),
        }
    }

    async fn refuse_claim(&mut self, refusal: Refusal, with_capability: bool) -> After {
        let text = if with_capability {
            refusal.to_string()
        } else {
            "this is a pool's data port: it serves the URLs that a door redirects to; ask the door".to_owned()
        };
        match refusal {
            Refusal::Unknown { back_to: Some(door) } | Refusal::Expired { back_to: Some(door) } => {
                // RFC 9110 §15.4.8: the method and body are repeated at the door.
                let location = format!("{door}{}", self.request.raw_path());
                self.refuse_with(307, &text, &[("Location", &location)]).await
            }
            Refusal::Unknown { back_to: None } => self.refuse(400, &text).await,
            Refusal::Expired { back_to: None } => self.refuse(410, &text).await,
            Refusal::WrongMethod { allowed } => self.refuse_with(405, &text, &[("Allow", allowed)]).await,
            Refusal::WrongPath => self.refuse(403, &text).await,
            Refusal::AlreadyUsed => self.refuse(409, &text).await,
            Refusal::TooMany { .. } | Refusal::Draining => {
                self.refuse_with(503, &text, &[("Retry-After", "10")]).await
            }
        }
    }

    /// Answers with an error of one line.
    pub async fn refuse(&mut self, status: u16, text: &str) -> After {
        self.refuse_with(status, text, &[]).await
    }

    /// The same with more headers.
    pub async fn refuse_with(&mut self, status: u16, text: &str, headers: &[(&'static str, &str)]) -> After {
        // What would follow on the connection is the body that nobody wants.
        let last = !self.request.body_length().is_empty() || !self.request.keep_alive();
        let mut answer = Vec::new();
        TextAnswer {
            status,
            line: text,
            keep_alive: !last,
            client: self.request.version(),
            head_only: *self.request.method() == Method::Head,
            headers,
        }
        .write(&mut answer, &date());
        self.send(answer, if last { After::Close } else { After::Next }).await
    }

    /// Sends a whole small answer.
    pub async fn send(&mut self, answer: Vec<u8>, after: After) -> After {
        let (sent, _) = self.input.connection().send_all(answer, false, self.port.settings.idle_limit).await;
        if sent.is_ok() { after } else { After::Abort }
    }

    /// Keeps what the kernel knows of the connection in the transfer's record.
    pub fn note_tcp(&self, claim: &Claim) {
        if let Some(marked) = &self.flow {
            marked.flow.note();
        }
        if let (Some(link), Some(facts)) = (claim.link(), self.input.connection().tcp_facts()) {
            link.set_tcp(TcpInfo {
                rtt: facts.rtt,
                retransmits: facts.retransmits,
                delivery_rate_bytes_per_second: facts.delivery_rate,
                bytes_acknowledged: facts.bytes_acknowledged,
                congestion_window_segments: facts.congestion_window,
            });
        }
    }
}

/// The present second, formatted once per second and shard.
pub fn date() -> HttpDate {
    thread_local! {
        static DATE: std::cell::Cell<HttpDate> = std::cell::Cell::new(HttpDate::new(0));
    }
    DATE.with(|cell| {
        let mut date = cell.get();
        date.refresh(std::time::SystemTime::now());
        cell.set(date);
        date
    })
}

/// The digest headers that the client asked for, as far as the checksums are known.
pub fn digest_headers<'a>(head: ResponseHead<'a>, request: &Request, known: &[Checksum]) -> ResponseHead<'a> {
    let wanted = WantedDigests::of(request);
    let pick = |algorithms: &[crate::checksum::Algorithm]| -> Vec<Checksum> {
        algorithms
            .iter()
            .filter_map(|algorithm| known.iter().find(|checksum| checksum.algorithm() == *algorithm).copied())
            .collect()
    };
    let (digest, repr_digest) = (pick(&wanted.digest), pick(&wanted.repr_digest));
    head.optional_header("Digest", (!digest.is_empty()).then(|| http1::digest_header(&digest)))
        .optional_header(
            "Repr-Digest",
            (!repr_digest.is_empty()).then(|| http1::repr_digest_header(&repr_digest)),
        )
}

const ALLOWED: &str = "GET, HEAD, PUT, OPTIONS";
