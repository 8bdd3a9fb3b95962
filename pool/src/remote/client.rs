//! Requests of one transfer: written, sent, redirected, answered.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use super::error::{MAX_REDIRECTS, RemoteError};
use super::headers::Headers;
use super::token::DoorToken;
use super::url::{Origin, RemoteUrl};
use super::wire::{First, Wire};
use super::{Remotes, dial, idle};
use crate::engine::core::Core;
use crate::engine::net::Received;
use crate::http1::{AnswerBody, AnswerHead};
use crate::marking::Mark;
use crate::tls::Credential;

/// A body of an answer that nobody wants is read up to that size, so that the connection can be used again.
const DRAINED_BYTES: u64 = 64 << 10;
/// And for so long.
const DRAIN_TIME: Duration = Duration::from_secs(2);
/// A server that gives no leave to send the body is sent it after so long (RFC 9110 §10.1.1: not for ever): doors that
/// redirect may take a while to choose a place.
const LEAVE_PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked for a free place among the connections to a server.
const PLACE_PERIOD: Duration = Duration::from_millis(200);

const USER_AGENT: &str = concat!("Penstock/", env!("CARGO_PKG_VERSION"));

/// What to ask.
#[derive(Debug, Clone)]
pub struct Question {
    /// The method.
    pub method: &'static str,
    /// Fields beside those of the user.
    pub fields: Vec<(&'static str, String)>,
}

/// An answer's head, and the connection behind it.
pub struct Reply {
    /// The head.
    pub head: AnswerHead,
    /// How its body ends.
    pub body: AnswerBody,
    /// Where the body comes from.
    pub wire: Wire,
}

/// What a request with a body was answered.
pub enum Opened {
    /// The body may be sent.
    Leave(Wire),
    /// No body is wanted.
    Answered(Reply),
}

/// Is told of each connection that a request goes out on.
pub type Watcher<'a> = &'a dyn Fn(&crate::tls::Wire);

/// The remote side of one transfer.
pub struct Client {
    core: Rc<Core>,
    remotes: Arc<Remotes>,
    url: RemoteUrl,
    headers: Headers,
    /// What its packets carry.
    mark: Option<Mark>,
    /// What is shown to servers that ask for a certificate.
    credential: Option<Credential>,
    /// The door's token, which may change.
    token: Option<DoorToken>,
}

impl Client {
    /// Nothing asked yet.
    #[must_use]
    pub fn new(core: &Rc<Core>, remotes: &Arc<Remotes>, url: &RemoteUrl, headers: &Headers) -> Client {
        let (core, remotes) = (Rc::clone(core), Arc::clone(remotes));
        Client {
            core,
            remotes,
            url: url.clone(),
            headers: headers.clone(),
            mark: None,
            credential: None,
            token: None,
        }
    }

    /// The same, with its packets marked.
    #[must_use]
    pub fn marked(self, mark: Option<&Mark>) -> Client {
        Client { mark: mark.cloned(), ..self }
    }

    /// The same, showing a user's certificate to the servers it comes to, those that it is redirected to included: a
    /// certificate proves who asks and can be used by nobody else, unlike the fields that stay with their origin.
    #[must_use]
    pub fn showing(self, credential: Option<&Credential>) -> Client {
        Client { credential: credential.cloned(), ..self }
    }

    /// The same with the door's token, asking nothing any more once that has ended.
    #[must_use]
    pub fn with_token(self, token: Option<&DoorToken>) -> Client {
        Client { token: token.cloned(), ..self }
    }

    /// The shard.
    #[must_use]
    pub fn core(&self) -> &Rc<Core> {
        &self.core
    }

    /// Limits and times.
    #[must_use]
    pub fn settings(&self) -> &super::Settings {
        &self.remotes.settings
    }

    /// Whom the transfer's URL names.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        self.url.origin()
    }

    /// Asks, following redirects.
    pub async fn ask(&self, question: &Question, seen: Watcher<'_>) -> Result<Reply, RemoteError> {
        let mut url = self.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let reply = self.ask_once(question, &url, seen).await?;
            match self.redirect(&reply.head, &url, question.method)? {
                Some(next) => {
                    self.discard(reply).await;
                    url = next;
                }
                None => return Ok(reply),
            }
        }
        Err(RemoteError::TooManyRedirects { from: url.origin().clone() })
    }

    /// Announces a body of so many bytes and waits for leave to send it, following redirects. A request without a body
    /// is asked and answered as any other.
    pub async fn announce(
        &self,
        question: &Question,
        length: u64,
        seen: Watcher<'_>,
    ) -> Result<Opened, RemoteError> {
        if length == 0 {
            let mut question = question.clone();
            question.fields.push(("Content-Length", "0".into()));
            return Ok(Opened::Answered(self.ask(&question, seen).await?));
        }
        let (mut url, mut waits) = (self.url.clone(), true);
        for _ in 0..=MAX_REDIRECTS {
            let mut question = question.clone();
            question.fields.push(("Content-Length", length.to_string()));
            if waits {
                question.fields.push(("Expect", "100-continue".into()));
            }
            let (wire, first) = self.announce_once(&question, &url, waits, seen).await?;
            let head = match first {
                First::Continue | First::Nothing => return Ok(Opened::Leave(wire)),
                First::Answer(head) => head,
            };
            if head.status() == 417 && waits {
                // RFC 9110 §10.1.1: the expectation itself is refused.
                waits = false;
                continue;
            }
            // What follows on this connection is uncertain: the body that was announced is not sent.
            match self.redirect(&head, &url, question.method)? {
                Some(next) => url = next,
                None => {
                    let peer = wire.peer();
                    let body = head.body(false).map_err(|error| RemoteError::Answer { peer, error })?;
                    return Ok(Opened::Answered(Reply { head, body, wire }));
                }
            }
        }
        Err(RemoteError::TooManyRedirects { from: url.origin().clone() })
    }

    /// Done with an answer: its connection is used again if that is possible without much ado.
    pub async fn discard(&self, reply: Reply) {
        let Reply { head, body, mut wire } = reply;
        if !head.keep_alive() {
            return;
        }
        let AnswerBody::Length(mut left @ 0..=DRAINED_BYTES) = body else { return };
        let drained = self.core.within(DRAIN_TIME, async {
            while left > 0 {
                let here = (wire.input.unread().len() as u64).min(left);
                if here == 0 {
                    match wire.input.receive_more(DRAIN_TIME).await {
                        Ok(Received::Bytes(_)) => continue,
                        Ok(Received::End | Received::Paused(_)) | Err(_) => return false,
                    }
                }
                wire.input.consume(here as usize);
                left -= here;
            }
            true
        });
        if drained.await == Some(true) {
            self.park(wire);
        }
    }

    /// A connection whose last answer was read to its end waits for the next request.
    pub fn park(&self, wire: Wire) {
        if wire.input.unread().is_empty() {
            idle::park(wire, self.settings().keep_alive);
        }
    }

    async fn ask_once(
        &self,
        question: &Question,
        url: &RemoteUrl,
        seen: Watcher<'_>,
    ) -> Result<Reply, RemoteError> {
        loop {
            let (mut wire, head) = (self.wire(url).await?, self.request_head(question, url));
            seen(wire.input.connection());
            let limit = self.settings().first_byte_timeout;
            let answered = match wire.send(head, self.settings().idle_timeout).await {
                Ok(()) => wire.answer(limit).await,
                Err(error) => Err(error),
            };
            match answered {
                Ok(head) => {
                    let peer = wire.peer();
                    let body = head.body(question.method == "HEAD");
                    let body = body.map_err(|error| RemoteError::Answer { peer, error })?;
                    return Ok(Reply { head, body, wire });
                }
                Err(error) if went_stale(&wire, &error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn announce_once(
        &self,
        question: &Question,
        url: &RemoteUrl,
        waits: bool,
        seen: Watcher<'_>,
    ) -> Result<(Wire, First), RemoteError> {
        loop {
            let (mut wire, head) = (self.wire(url).await?, self.request_head(question, url));
            seen(wire.input.connection());
            let first = match wire.send(head, self.settings().idle_timeout).await {
                Ok(()) if waits => wire.first(LEAVE_PATIENCE, true).await,
                Ok(()) => Ok(First::Nothing),
                Err(error) => Err(error),
            };
            match first {
                Ok(first) => return Ok((wire, first)),
                Err(error) if went_stale(&wire, &error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A connection that waits, or a new one.
    async fn wire(&self, url: &RemoteUrl) -> Result<Wire, RemoteError> {
        let origin = url.origin();
        let shown = self.credential.as_ref().filter(|_| origin.secure);
        let fingerprint = shown.map(Credential::fingerprint);
        loop {
            self.check_ends(shown, origin)?;
            let tag = self.mark.as_ref().map(Mark::tag);
            if let Some(wire) = idle::take(&self.core, origin, tag, fingerprint).await {
                self.remotes.reused.fetch_add(1, Ordering::Relaxed);
                return Ok(wire);
            }
            if let Some(place) = self.remotes.places.take(origin) {
                let connection =
                    dial::dial(&self.core, &self.remotes, origin, self.mark.as_ref(), shown).await?;
                self.remotes.made.fetch_add(1, Ordering::Relaxed);
                return Ok(Wire::new(connection, origin.clone(), place, tag, fingerprint));
            }
            self.core.sleep(PLACE_PERIOD).await;
        }
    }

    /// Looked at for each request: a copy may have waited for long, and may go on for long.
    fn check_ends(&self, shown: Option<&Credential>, origin: &Origin) -> Result<(), RemoteError> {
        let now = SystemTime::now();
        if let Some(ended) = shown.filter(|credential| credential.ends_at() <= now) {
            return Err(RemoteError::CredentialEnded { at: ended.ends_at() });
        }
        // To others than the URL's own origin it does not go.
        let ends_at =
            self.token.as_ref().filter(|_| origin == self.url.origin()).and_then(DoorToken::ends_at);
        match ends_at.filter(|ends_at| *ends_at <= now) {
            Some(at) => Err(RemoteError::TokenEnded { at }),
            None => Ok(()),
        }
    }

    /// RFC 9112 §3, with `Host` first.
    fn request_head(&self, question: &Question, url: &RemoteUrl) -> Vec<u8> {
        let mut head =
            format!("{} {} HTTP/1.1\r\nHost: {}\r\n", question.method, url.target(), url.authority());
        let mut field = |name: &str, value: &str| {
            head.push_str(name);
            head.push_str(": ");
            head.push_str(value);
            head.push_str("\r\n");
        };
        let another_origin = url.origin() != self.url.origin();
        for (name, value) in self.headers.fields(another_origin) {
            field(name, value);
        }
        let token = self.token.as_ref().map(DoorToken::field).unwrap_or_default();
        for (name, value) in token.fields(another_origin) {
            field(name, value);
        }
        for (name, value) in &question.fields {
            field(name, value);
        }
        if self.headers.get("user-agent").is_none() {
            field("User-Agent", USER_AGENT);
        }
        if self.headers.get("accept").is_none() {
            field("Accept", "*/*");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// Where an answer redirects to (RFC 9110 §15.4), if it does.
    fn redirect(
        &self,
        head: &AnswerHead,
        url: &RemoteUrl,
        method: &str,
    ) -> Result<Option<RemoteUrl>, RemoteError> {
        let from = || url.origin().clone();
        match head.status() {
            // 303 leads to another resource, which is no place for a body.
            300 | 301 | 302 | 307 | 308 => {}
            303 if matches!(method, "GET" | "HEAD") => {}
            _ => return Ok(None),
        }
        match head.header("location") {
            Some(location) => {
                let next =
                    url.join(location).map_err(|error| RemoteError::Redirect { from: from(), error })?;
                Ok(Some(next))
            }
            None => Err(RemoteError::NoLocation { from: from(), status: head.status() }),
        }
    }
}

/// A connection that had waited, and that the server closed at the same moment: the request was not looked at, and is
/// sent again on a new one (RFC 9110 §9.2.2; a PUT's body has not begun).
fn went_stale(wire: &Wire, error: &RemoteError) -> bool {
    wire.reused
        && wire.input.unread().is_empty()
        && matches!(error, RemoteError::Broken { .. } | RemoteError::Closed { .. })
}
