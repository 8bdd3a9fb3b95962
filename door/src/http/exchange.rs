//! What all handlers need of a request: who asks, for which path, and with what body.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, StatusCode, Version};
use jiff::Timestamp;
use penstock_door_proto::v1 as proto;

use super::answer::Refusal;
use super::connection::Connection;
use super::service::Service;
use super::{on_record, reserved};
use crate::audit::record::Request as Asked;
use crate::audit::{Happening, Who};
use crate::auth::claimed::Claimed;
use crate::auth::{Access, Credentials, Decision, Operation, decide};
use crate::marking;
use crate::namespace::{Entry, Lookup, NsPath};

/// Longest User-Agent and ClientInfo that is handed on, in bytes; the contract's limit.
const MAX_AGENT_BYTES: usize = 256;

/// One request, authenticated.
pub struct Exchange {
    /// The door.
    pub service: Arc<Service>,
    /// The client's connection.
    pub connection: Arc<Connection>,
    /// Its head.
    pub head: Parts,
    /// Its body, until a handler takes it.
    pub body: Option<Incoming>,
    /// It has been read to its end.
    pub body_is_read: bool,
    /// Who asks.
    pub access: Access,
    /// The path as the client named it.
    pub view_path: NsPath,
    /// The path in the namespace.
    pub path: NsPath,
    begun: Mutex<Begun>,
}

/// What a request has begun that the audit tells of.
#[derive(Debug, Clone, Default)]
pub struct Begun {
    /// A transfer.
    pub transfer: Option<String>,
    /// A change of the namespace, whatever the answer is.
    pub changes: bool,
    /// A change that may be made though nobody waits for the answer any more.
    pub under_way: bool,
    /// A macaroon, by the id of its issue.
    pub issued: Option<String>,
}

impl Exchange {
    /// Authenticates a request and reads its path.
    pub async fn open(
        service: Arc<Service>,
        connection: Arc<Connection>,
        head: Parts,
        body: Incoming,
    ) -> Result<Self, Refusal> {
        check_host(&head)?;
        let credentials = Credentials {
            headers: &head.headers,
            query: head.uri.query(),
            client: connection.peer().ip(),
            encrypted: connection.encrypted(),
            certificate: connection.certificate().map(|shown| shown.map_err(|error| error as _)),
        };
        let access = match authenticate(&service, &credentials).await {
            Ok(access) => access,
            Err(refusal) => {
                let passwords = service.authenticator.passwords.as_deref();
                let chain = connection.client_chain().unwrap_or_default();
                let claimed = Claimed::of(credentials.headers, credentials.query, passwords, chain.first());
                return Err(refusal.claimed(claimed));
            }
        };
        let view_path = NsPath::from_url(head.uri.path())?;
        let path = access.real_path(&view_path)?;
        if reserved::is(&path) && !reserved::is(&view_path) {
            // By a macaroon with another root.
            return Err(Refusal::forbidden("the door keeps this name for itself"));
        }
        let begun = Mutex::default();
        Ok(Self {
            service,
            connection,
            head,
            body: Some(body),
            body_is_read: false,
            access,
            view_path,
            path,
            begun,
        })
    }

    /// The request's headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The decision, as a result.
    pub fn allow(&self, operation: Operation) -> Result<(), Refusal> {
        self.allow_at(operation, &self.path)
    }

    /// The same for another path than the request's own.
    pub fn allow_at(&self, operation: Operation, path: &NsPath) -> Result<(), Refusal> {
        match decide(&self.access, operation, path) {
            Decision::Allow => Ok(()),
            Decision::Unauthenticated => Err(self.unauthenticated()),
            Decision::Forbidden(why) => {
                Err(match self.access.identity().and_then(|who| who.ignored.as_deref()) {
                    None => Refusal::forbidden(why),
                    Some(ignored) => Refusal::forbidden(&format!("{why}; {ignored}")),
                })
            }
        }
    }

    /// The answer to those who show no token where one is needed.
    pub fn unauthenticated(&self) -> Refusal {
        let text = "Permission denied: a token is needed: send \"Authorization: Bearer …\"";
        let refusal = Refusal::new(StatusCode::UNAUTHORIZED, text);
        challenge(refusal, &self.service, self.connection.encrypted(), None)
    }

    /// A transfer has begun for this request.
    pub fn note_transfer(&self, id: &str) {
        tracing::Span::current().record("transfer", id);
        self.lock_begun().transfer = Some(id.to_owned());
    }

    /// Tells the audit of a refusal that is no answer of its own: at that path, in an answer of that status.
    pub fn tell_refusal(&self, path: &str, status: StatusCode, why: String) {
        let method = self.head.method.to_string();
        let request = Asked { method, path: path.to_owned(), status: Some(status.as_u16()) };
        let who = Who::of(self.connection.peer().ip(), &self.access);
        self.service.audit.tell(who, Happening::Refused { request, why });
    }

    /// Something here has another name now, or gets one, whatever the answer will be.
    pub fn note_change(&self) {
        self.lock_begun().changes = true;
    }

    /// From here something may get its name whoever waits for the answer; or there is an answer.
    pub fn note_under_way(&self, is_under_way: bool) {
        self.lock_begun().under_way = is_under_way;
    }

    /// A macaroon was made.
    pub fn note_issue(&self, issue_id: &str) {
        self.lock_begun().issued = Some(issue_id.to_owned());
    }

    /// What has begun so far.
    pub fn begun(&self) -> Begun {
        self.lock_begun().clone()
    }

    fn lock_begun(&self) -> MutexGuard<'_, Begun> {
        // Single values.
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an operation on a path is allowed, for listings and choices.
    pub fn may(&self, operation: Operation, path: &NsPath) -> bool {
        decide(&self.access, operation, path) == Decision::Allow
    }

    /// The real path of what the client calls "/".
    pub fn view_root(&self) -> NsPath {
        let depth = self.path.components().count().saturating_sub(self.view_path.components().count());
        self.path.first(depth)
    }

    /// The entry at the path, or 404.
    pub async fn existing(&self) -> Result<Entry, Refusal> {
        match self.service.namespace.lookup(&self.path).await? {
            Lookup::Found(entry) => Ok(entry),
            Lookup::Missing | Lookup::NoParent | Lookup::NotADirectory => Err(Refusal::not_found()),
        }
    }

    /// Whether the request has a body, be it empty in the end.
    pub fn has_body(&self) -> bool {
        self.body.as_ref().is_some_and(|body| !body.is_end_stream())
    }

    /// Whether the client waits for 100 before it sends the body (RFC 9110 §10.1.1: never in HTTP/1.0).
    pub fn awaits_continue(&self) -> bool {
        self.head.version >= Version::HTTP_11
            && self
                .headers()
                .get(header::EXPECT)
                .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    }

    /// Whether the client may be sent to a pool: it is one that follows redirects, and the URL may be used from wherever
    /// it is, as pools do not look at addresses.
    pub fn follows_redirects(&self) -> bool {
        if self.access.is_address_bound() {
            return false;
        }
        let agent = self.headers().get(header::USER_AGENT).map(HeaderValue::as_bytes).unwrap_or_default();
        self.service.redirect.suits(agent)
    }

    /// The value of a query parameter, as it stands there.
    pub fn query_parameter(&self, name: &str) -> Option<&str> {
        let pairs = self.head.uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// What the packets of this request's transfer are marked with. `client`: as of [`Exchange::client`].
    pub fn marking(&self, client: &proto::Client) -> Option<proto::Marking> {
        let parameter = self.query_parameter(marking::wish::PARAMETER);
        let granted = self.access.experiment(&self.path);
        marking::of_request(self.headers(), parameter, &self.service.marking, client, &self.path, granted)
    }

    /// What a pool is told of a client that is sent to it: the redirect is by https when the client has come by it.
    pub fn redirected_client(&self) -> proto::Client {
        proto::Client { secure: self.connection.encrypted(), ..self.client() }
    }

    /// What a pool is told of the client; the bytes go through the door, which is to be encrypted as far as the pool as it
    /// is as far as the door, where the door can.
    pub fn client(&self) -> proto::Client {
        let secure = self.connection.encrypted() && self.service.data_ports.is_some();
        let peer = self.connection.peer();
        let (identity, name) = (self.access.identity(), self.access.subject().to_owned());
        let header = |name: &str| {
            let value = self.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
            // Header values that are text are ASCII, so any byte is a boundary.
            value[..value.len().min(MAX_AGENT_BYTES)].to_owned()
        };
        proto::Client {
            address: peer.ip().to_canonical().to_string(),
            port: u32::from(peer.port()),
            subject: identity.and_then(|identity| identity.subject.clone()).unwrap_or(name),
            issuer: identity.and_then(|identity| identity.issuer.clone()).unwrap_or_default(),
            groups: identity.map(|identity| identity.groups.clone()).unwrap_or_default(),
            protocol: format!("{:?}", self.head.version),
            user_agent: header("user-agent"),
            client_info: header("clientinfo"),
            secure,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // hyper drops what works on an answer when the client goes.
        if self.begun().under_way {
            on_record::abandoned(self);
        }
    }
}

/// RFC 9112 §3.2: one Host in HTTP/1.1, and never two. Two are also what a line end leaves that a client got into a
/// header's value.
fn check_host(head: &Parts) -> Result<(), Refusal> {
    let hosts = head.headers.get_all(header::HOST).iter().count();
    match hosts {
        1 => Ok(()),
        0 if head.version != Version::HTTP_11 => Ok(()),
        0 => Err(Refusal::new(StatusCode::BAD_REQUEST, "the request has no Host")),
        _ => Err(Refusal::new(StatusCode::BAD_REQUEST, "the request has more than one Host")),
    }
}

/// Who makes a request. Who fails again and again waits for the refusal.
async fn authenticate(service: &Service, credentials: &Credentials<'_>) -> Result<Access, Refusal> {
    if credentials.shows_password() {
        let may = service.attempts.may_guess(credentials.client, Instant::now());
        may.map_err(|error| Refusal::new(StatusCode::TOO_MANY_REQUESTS, error.to_string()))?;
    }
    let error = match service.authenticator.authenticate(credentials, Timestamp::now()).await {
        Ok(access) => return Ok(access),
        Err(error) => error,
    };
    let refusal = Refusal::new(error.status(), error.to_string());
    if error.status() != StatusCode::UNAUTHORIZED {
        return Err(refusal);
    }
    // That an issuer is away is nobody's fault here.
    if !error.is_passing() {
        service.attempts.failed(credentials.client, Instant::now()).wait().await;
    }
    let reason = error.is_invalid_token().then_some("invalid_token");
    Err(challenge(refusal, service, credentials.encrypted, reason))
}

/// Says what may be shown (RFC 9110 §11.6.1, RFC 6750 §3): one header for each scheme, as some clients read only the
/// first scheme of a header.
fn challenge(refusal: Refusal, service: &Service, encrypted: bool, error: Option<&str>) -> Refusal {
    let challenges = service.authenticator.challenges(&service.realm, encrypted, error);
    // A site name is letters, digits and three signs.
    let values = challenges.into_iter().filter_map(|text| HeaderValue::try_from(text).ok());
    values.fold(refusal, |refusal, value| refusal.header(header::WWW_AUTHENTICATE, value))
}
