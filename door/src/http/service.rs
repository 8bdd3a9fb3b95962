//! From a request to the handler of its method, and to its line in the log.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, StatusCode};
use penstock_service::trace::context::{self, HEADER};
use penstock_service::trace::{Kind, TraceContext, Tracer};
use tracing::Instrument as _;

use super::answer::{Answer, Refusal, Wording};
use super::connection::Connection;
use super::exchange::Exchange;
use super::{
    copy, delegation, delete, get, head, lock, macaroon, mkcol, oauth, on_record, options, propfind,
    proppatch, put, rename, tape, unlock,
};
use crate::audit::Audit;
use crate::audit::record::Who;
use crate::auth::attempts::Attempts;
use crate::auth::request::Lifetimes;
use crate::auth::{Access, Authenticator};
use crate::config::{CopyRules, DelegationRules, Limits, Redirect};
use crate::delegation::{Delegations, Exchanges};
use crate::marking::MarkingRules;
use crate::namespace::Namespace;
use crate::tls::DataPorts;
use crate::transfers::Transfers;

/// What answers requests; shared by all connections.
#[derive(Debug, Clone)]
pub struct Service {
    /// Who asks.
    pub authenticator: Authenticator,
    /// Who fails to show who they are, again and again.
    pub attempts: Attempts,
    /// Who is told of refusals and changes.
    pub audit: Arc<Audit>,
    /// How long macaroons live that are asked for.
    pub lifetimes: Lifetimes,
    /// Names.
    pub namespace: Namespace,
    /// Bytes.
    pub transfers: Arc<Transfers>,
    /// Which clients are sent to pools.
    pub redirect: Redirect,
    /// How the door speaks https with pools, if it does.
    pub data_ports: Option<DataPorts>,
    /// Third-party copies.
    pub copy: CopyRules,
    /// How users lend the door credentials for them.
    pub delegation: DelegationRules,
    /// What they have lent.
    pub delegations: Arc<Delegations>,
    /// Tokens that the door gets for theirs.
    pub exchanges: Arc<Exchanges>,
    /// How transfers without a SciTag are marked.
    pub marking: MarkingRules,
    /// What is accepted.
    pub limits: Limits,
    /// What clients call this door; may be empty.
    pub own_url: String,
    /// The door's name, for challenges.
    pub realm: String,
    /// The longest time of a lock that is not refreshed.
    pub lock_timeout: Duration,
    /// How long a body may take that is not a file's.
    pub body_timeout: Duration,
    /// How long a request waits for a checksum.
    pub digest_patience: Duration,
    /// Requests for files to be brought from tape.
    pub staged: Arc<tape::Staged>,
    /// Who is told of requests that are parts of traces.
    pub tracer: Tracer,
}

impl Service {
    /// Answers one request. Never fails: whatever goes wrong is an answer.
    pub async fn serve(
        self: Arc<Self>,
        connection: Arc<Connection>,
        request: Request<Incoming>,
    ) -> Result<Answer, Infallible> {
        let started = Instant::now();
        let wording = Wording::new(request.method().clone(), request.uri().clone(), request.headers());
        let span = tracing::info_span!(
            "request",
            method = %wording.method(),
            path = wording.path(),
            client = %connection.peer(),
            // Filled in when the request begins one.
            transfer = tracing::field::Empty
        );
        let (head, body) = request.into_parts();
        let mut subject = String::from("-");
        let client: Option<TraceContext> =
            head.headers.get(HEADER).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
        let mut part = self.tracer.begin(client, Kind::Server, wording.method().as_str());
        // Without traces of its own the door hands on what it was given.
        let place = part.as_ref().map(|part| part.context).or(client);
        let tracer = self.tracer.clone();
        let answering = self.answer(connection, head, body, &wording, &mut subject).instrument(span.clone());
        let answer = context::within(place, answering).await;
        if let Some(mut part) = part.take() {
            part.text("http.request.method", wording.method().as_str());
            part.text("url.path", wording.path());
            part.number("http.response.status_code", answer.status().as_u16().into());
            let failure = answer.status().is_server_error().then(|| answer.status().to_string());
            tracer.end(part, failure.as_deref());
        }
        let _entered = span.enter();
        tracing::info!(
            status = answer.status().as_u16(),
            duration_ms = started.elapsed().as_millis(),
            subject,
            "answered"
        );
        Ok(answer)
    }

    async fn answer(
        self: Arc<Self>,
        connection: Arc<Connection>,
        head: Parts,
        body: Incoming,
        wording: &Wording,
        subject: &mut String,
    ) -> Answer {
        let has_body = !body.is_end_stream();
        let (mut answer, body_taken, body_is_read) = if head.method == Method::OPTIONS {
            // Before the token and the path are looked at: it may be "*", and tells nothing of either.
            (options::handle(), false, false)
        } else {
            let service = Arc::clone(&self);
            match self.open(Arc::clone(&connection), head, body).await {
                Err(mut refusal) => {
                    let claimed = refusal.take_claimed();
                    let who = Who { claimed, ..Who::unknown(connection.peer().ip()) };
                    on_record::refused(&service.audit, who, wording.method(), wording.path(), &refusal);
                    (oauth::in_its_words(wording.path(), refusal).into_answer(wording), false, false)
                }
                Ok(exchange) => {
                    exchange.access.subject().clone_into(subject);
                    let (exchange, answer) = carry_out(exchange).await;
                    let mut answer = answer.unwrap_or_else(|refusal| refusal.into_answer(wording));
                    prove(&exchange.access, &mut answer);
                    (answer, exchange.body.is_none(), exchange.body_is_read)
                }
            }
        };
        let failed = answer.status().is_client_error() || answer.status().is_server_error();
        if has_body && !body_is_read && (failed || !body_taken) {
            // What the client may still send is not the next request. A pool, too, may refuse a body that the door
            // hands on before its end.
            connection.leave_body_unread();
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }

    async fn open(
        self: Arc<Self>,
        connection: Arc<Connection>,
        head: Parts,
        body: Incoming,
    ) -> Result<Exchange, Refusal> {
        let head_bytes: u64 = (head.uri.path().len() + head.uri.query().map_or(0, str::len)) as u64
            + head
                .headers
                .iter()
                .map(|(name, value)| (name.as_str().len() + value.len() + 4) as u64)
                .sum::<u64>();
        if head_bytes > self.limits.head_bytes.0 {
            return Err(Refusal::new(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                format!("the request's head is longer than {} bytes", self.limits.head_bytes.0),
            ));
        }
        check_framing(&head, &connection)?;
        Exchange::open(self, connection, head, body).await
    }
}

/// Refuses what hyper passes over: a coding of the body that nobody here undoes, and a fragment.
fn check_framing(head: &Parts, connection: &Connection) -> Result<(), Refusal> {
    let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_known = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    if codings.next().is_some_and(|first| !is_known(first)) || codings.next().is_some() {
        // RFC 9112 §6.1.
        let text = "a body with another Transfer-Encoding than chunked is not understood";
        return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, text));
    }
    let target = head.uri.path_and_query().map(PathAndQuery::as_str).unwrap_or_default();
    if connection.fragment_behind(head.method.as_str(), target) {
        // RFC 9112 §3.2: a fragment is no part of it. Who asks to delete "run#12" does not mean "run".
        let text = "there is a \"#\" in the request's URL: as a part of a name it is written %23";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, text));
    }
    Ok(())
}

/// Proves the door to a client whose scheme has that (RFC 4559 §5: in any answer but 401, where it would be a challenge).
fn prove(access: &Access, answer: &mut Answer) {
    let Access::Known(known) = access else { return };
    let Some(proof) = known.proof.as_ref().filter(|_| answer.status() != StatusCode::UNAUTHORIZED) else {
        return;
    };
    // Base64 is a header's value.
    if let Ok(mut value) = HeaderValue::from_bytes(&[b"Negotiate ", proof.expose()].concat()) {
        value.set_sensitive(true);
        answer.headers_mut().append(header::WWW_AUTHENTICATE, value);
    }
}

/// Answers it, and puts it on record.
///
/// hyper drops what works on an answer when the client goes. A change is then made or not, and nobody would know by whom:
/// so what changes something has a task of its own, which goes on to its end.
async fn carry_out(mut exchange: Exchange) -> (Exchange, Result<Answer, Refusal>) {
    let ends_with_its_client = match exchange.head.method.as_str() {
        // The first two are called off, and put on record when that may be too late: [`Exchange::note_under_way`].
        "PUT" | "COPY" | "PROPFIND" => true,
        _ => exchange.head.method.is_safe(),
    };
    let transfers = Arc::clone(&exchange.service.transfers);
    let work = async move {
        let answer = handle(&mut exchange).await;
        on_record::answered(&exchange, &answer);
        (exchange, answer)
    };
    if ends_with_its_client { work.await } else { transfers.see_through(work).await }
}

async fn handle(exchange: &mut Exchange) -> Result<Answer, Refusal> {
    if delegation::is_for(exchange) {
        return delegation::handle(exchange).await;
    }
    if tape::is_for(exchange) {
        return tape::handle(exchange).await;
    }
    if oauth::is_for(exchange) {
        return oauth::handle(exchange).await;
    }
    match exchange.head.method.clone() {
        Method::GET => get::handle(exchange).await,
        Method::HEAD => head::handle(exchange).await,
        Method::PUT => put::handle(exchange).await,
        Method::DELETE => delete::handle(exchange).await,
        Method::POST if macaroon::is_for(exchange) => macaroon::handle(exchange).await,
        method => match method.as_str() {
            "COPY" => copy::handle(exchange).await,
            "LOCK" => lock::handle(exchange).await,
            "MKCOL" => mkcol::handle(exchange).await,
            "MOVE" => rename::handle(exchange).await,
            "PROPFIND" => propfind::handle(exchange).await,
            "PROPPATCH" => proppatch::handle(exchange).await,
            "UNLOCK" => unlock::handle(exchange).await,
            // Methods of HTTP and WebDAV that this door knows and does not do.
            "POST" | "PATCH" | "TRACE" | "CONNECT" => {
                Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this door does not do this method")
                    .header(header::ALLOW, HeaderValue::from_static(options::METHODS)))
            }
            _ => Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "this door does not know this method")),
        },
    }
}
