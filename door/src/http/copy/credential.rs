//! What a third-party copy shows to the remote side, besides headers of the client's own: nothing, a proxy that the
//! client has delegated (GridSite), or a token that the door gets for the client's (OpenID Connect).

use std::sync::Arc;

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};
use jiff::Timestamp;
use penstock_door_proto::v1 as proto;
use proto::credential::Kind;

use super::super::answer::{Answer, Refusal, full};
use super::super::exchange::Exchange;
use super::headers::single;
use crate::audit::{DelegationStep, Happening, Who};
use crate::auth::shown::{self, Shown};
use crate::delegation::Usable;
use crate::delegation::exchange::issuer_of;
use crate::transfers::copy::renewal::{self, Renewal};

/// Where a client that has nothing delegated is to delegate to.
const X_DELEGATE_TO: HeaderName = HeaderName::from_static("x-delegate-to");
/// In the query of a request that was sent away for that: nobody is sent away twice.
const ASKED: &str = "asked-to-delegate";

/// Where the credential comes from (the header `Credential`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Nowhere: what is needed stands in transfer headers.
    None,
    /// The client has delegated a proxy.
    GridSite,
    /// The door exchanges the client's token.
    Oidc,
}

impl Source {
    /// As a header names it; an empty or missing one leaves it to how the client authenticated.
    pub fn read(headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        match single(headers, "credential")? {
            None => Ok(None),
            Some(value) if value.eq_ignore_ascii_case("none") => Ok(Some(Source::None)),
            Some(value) if value.eq_ignore_ascii_case("gridsite") => Ok(Some(Source::GridSite)),
            Some(value) if value.eq_ignore_ascii_case("oidc") => Ok(Some(Source::Oidc)),
            Some(_) => {
                let text = "Credential is none of none, gridsite and oidc";
                Err(Refusal::new(StatusCode::BAD_REQUEST, text))
            }
        }
    }
}

/// What was found.
pub enum Found {
    /// The copy needs none, or brings it in its headers.
    Nothing,
    /// For the pool, with the way in which it is renewed while the copy waits or runs, if it can be.
    Credential(proto::Credential, Option<Arc<Renewal>>),
    /// The client has to delegate first; this says where to.
    Elsewhere(Answer),
}

/// Finds it. `handed_on`: what the client sends to the remote side itself.
pub async fn find(
    exchange: &Exchange,
    asked: Option<Source>,
    handed_on: &[proto::Header],
) -> Result<Found, Refusal> {
    match asked.unwrap_or_else(|| usual(exchange, handed_on)) {
        Source::None => Ok(Found::Nothing),
        Source::GridSite => delegated(exchange),
        Source::Oidc => exchanged(exchange).await,
    }
}

/// Without a word from the client it depends on how it authenticated; unless it brings what the remote side is to see, or
/// says that it does not delegate.
fn usual(exchange: &Exchange, handed_on: &[proto::Header]) -> Source {
    let service = &exchange.service;
    let no_delegation = exchange.headers().get("x-no-delegate");
    let declines = no_delegation.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    if declines || handed_on.iter().any(|header| header.name.eq_ignore_ascii_case("authorization")) {
        return Source::None;
    }
    match shown::find(exchange.headers(), exchange.head.uri.query()) {
        Ok(Shown::Nothing) => {
            let by_certificate = matches!(exchange.connection.certificate(), Some(Ok(_)));
            if by_certificate && service.delegation.gridsite { Source::GridSite } else { Source::None }
        }
        Ok(Shown::Bearer(token))
            if issuer_of(&token).is_some_and(|issuer| service.exchanges.knows(&issuer)) =>
        {
            Source::Oidc
        }
        Ok(_) | Err(_) => Source::None,
    }
}

/// A proxy that the client has delegated.
fn delegated(exchange: &Exchange) -> Result<Found, Refusal> {
    let service = &exchange.service;
    if !service.delegation.gridsite {
        return Err(not_here("delegation of certificates"));
    }
    let needs_certificate = "Credential: gridsite needs a connection by https with a client certificate";
    let name = match exchange.connection.certificate() {
        None => return Err(Refusal::new(StatusCode::UNAUTHORIZED, needs_certificate)),
        Some(Err(error)) => return Err(Refusal::new(StatusCode::UNAUTHORIZED, error.to_string())),
        Some(Ok(identity)) => identity.distinguished_name.as_deref(),
    };
    let name = name.ok_or_else(|| Refusal::new(StatusCode::UNAUTHORIZED, needs_certificate))?;
    if let Some(Usable { id, pem }) = service.delegations.usable(name, Timestamp::now()) {
        let who = Who::of_certificate(exchange.connection.peer().ip(), name);
        let path = Some(exchange.path.to_string());
        let (step, delegation) = (DelegationStep::Used, id.to_string());
        service.audit.tell(who, Happening::Delegation { step, delegation, path });
        let kind = Kind::X509ProxyPem(pem.expose().to_vec());
        return Ok(Found::Credential(proto::Credential { kind: Some(kind) }, None));
    }
    let places = Places::of(exchange)?;
    if exchange.query_parameter(ASKED).is_some() {
        let text = format!(
            "no credential was delegated that is good for two more minutes: delegate one to {} first, or send \
             \"Credential: none\"",
            places.delegate_to
        );
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, text));
    }
    places.answer().map(Found::Elsewhere)
}

/// Where a client is to go, and to come back to.
struct Places {
    delegate_to: String,
    come_back_to: String,
}

impl Places {
    fn of(exchange: &Exchange) -> Result<Self, Refusal> {
        let host = exchange.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let rules = &exchange.service.delegation;
        // The door's own URL may be another port, without TLS: the client is known to have come here by https.
        let here = host.map(|host| format!("https://{host}"));
        let here = here.or_else(|| Some(exchange.service.own_url.clone()).filter(|url| !url.is_empty()));
        let here = here.ok_or_else(|| Refusal::new(StatusCode::BAD_REQUEST, "the request has no Host"))?;
        let delegate_to = match rules.endpoints.as_slice() {
            [] => format!("{here}{}", rules.path),
            endpoints => endpoints.join(" "),
        };
        let uri = &exchange.head.uri;
        let query = uri.query().filter(|query| !query.is_empty()).map(|query| format!("{query}&"));
        let come_back_to = format!("{here}{}?{}{ASKED}=true", uri.path(), query.unwrap_or_default());
        Ok(Self { delegate_to, come_back_to })
    }

    /// The guide's way to ask for a delegation: a redirect back to here, with a word on where to delegate before.
    fn answer(self) -> Result<Answer, Refusal> {
        let value = |text: &str| {
            HeaderValue::from_str(text)
                .map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "the request's Host is not usable"))
        };
        let text = format!("delegate a credential to {}, and come back\n", self.delegate_to);
        let mut answer = Response::new(full(text));
        *answer.status_mut() = StatusCode::FOUND;
        let headers = answer.headers_mut();
        headers.insert(header::LOCATION, value(&self.come_back_to)?);
        headers.insert(X_DELEGATE_TO, value(&self.delegate_to)?);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        Ok(answer)
    }
}

/// A token for the client's.
async fn exchanged(exchange: &Exchange) -> Result<Found, Refusal> {
    let service = &exchange.service;
    if service.exchanges.is_empty() {
        return Err(not_here("the exchange of tokens"));
    }
    let needs_token =
        "Credential: oidc needs an OpenID Connect token of an issuer with which this door exchanges";
    let refused = || Refusal::new(StatusCode::UNAUTHORIZED, needs_token);
    let Ok(Shown::Bearer(token)) = shown::find(exchange.headers(), exchange.head.uri.query()) else {
        return Err(refused());
    };
    let issuer = issuer_of(&token).filter(|issuer| service.exchanges.knows(issuer)).ok_or_else(refused)?;
    let fresh = service.exchanges.fresh(&issuer, &token, Timestamp::now()).await.map_err(|error| {
        tracing::warn!(%error, issuer, "a token was not exchanged");
        Refusal::new(StatusCode::BAD_GATEWAY, error.to_string())
    })?;
    let kind = Kind::Oidc(renewal::message(&fresh));
    let exchanges = Arc::clone(&service.exchanges);
    let renewal = fresh.expires_at.map(|ends_at| Arc::new(Renewal { exchanges, issuer, token, ends_at }));
    Ok(Found::Credential(proto::Credential { kind: Some(kind) }, renewal))
}

fn not_here(what: &str) -> Refusal {
    let text = format!(
        "{what} is not configured at this door: send \"Credential: none\" and the credential in \
         TransferHeaderAuthorization"
    );
    Refusal::new(StatusCode::NOT_IMPLEMENTED, text)
}
