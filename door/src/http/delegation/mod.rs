//! The delegation service of GridSite, at one path of the door: a client with a certificate lends the door a proxy of it,
//! for third-party copies that have yet to be asked for.
//!
//! * [`soap`]: what is asked and answered.
//!
//! Who asks is whoever made the connection, by certificate: a token or password beside it says nothing here.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::header::{self, HeaderValue};
use hyper::{Method, Response, StatusCode};
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;

use super::answer::{self, Answer, Refusal};
use super::exchange::Exchange;
use super::request_body;
use super::service::Service;
use crate::audit::{DelegationStep, Happening, Who};
use crate::delegation::{Accepted, DelegationError, DelegationId};

pub mod soap;

use soap::{Call, Dialect, SoapError};

/// Whose delegations are asked for.
struct Asker {
    /// From where.
    client: IpAddr,
    /// The distinguished name.
    name: String,
    /// What the client has shown by TLS.
    chain: Vec<CertificateDer<'static>>,
}

/// Whether a request is for the service.
pub fn is_for(exchange: &Exchange) -> bool {
    let rules = &exchange.service.delegation;
    rules.gridsite && exchange.head.method == Method::POST && exchange.head.uri.path() == rules.path
}

/// Answers it. (GridSite's own programs send what they have to, and close the connection without a look at the answer.)
pub async fn handle(exchange: &mut Exchange) -> Result<Answer, Refusal> {
    let (asker, service) = (asker(exchange)?, Arc::clone(&exchange.service));
    let body = request_body::xml(exchange).await?;
    Ok(serve(&service, &asker, &body).await)
}

async fn serve(service: &Service, asker: &Asker, body: &[u8]) -> Answer {
    let (dialect, call) = soap::read(body);
    let (operation, carried_out) = match call {
        Err(error) => ("unknown", Err(Fault::from(error))),
        Ok(call) => (call.name(), carry_out(service, asker, &call, Timestamp::now()).await),
    };
    match carried_out {
        Ok(result) => {
            tracing::info!(subject = asker.name, operation, "delegation");
            envelope(StatusCode::OK, dialect, soap::answer(dialect, operation, &result))
        }
        Err(fault) => {
            tracing::info!(subject = asker.name, operation, why = fault.text, "delegation refused");
            // SOAP 1.1 §6.2: a fault is 500, whoever is to blame.
            let text = soap::fault(dialect, fault.theirs, &fault.text);
            envelope(StatusCode::INTERNAL_SERVER_ERROR, dialect, text)
        }
    }
}

/// Why an operation is not done.
struct Fault {
    theirs: bool,
    text: String,
}

impl From<SoapError> for Fault {
    fn from(error: SoapError) -> Self {
        Self { theirs: true, text: error.to_string() }
    }
}

impl From<DelegationError> for Fault {
    fn from(error: DelegationError) -> Self {
        let theirs = match error {
            DelegationError::Id
            | DelegationError::NotBegun
            | DelegationError::NotHeld
            | DelegationError::Proxy(_) => true,
            DelegationError::Full | DelegationError::Request(_) | DelegationError::Unable => false,
        };
        Self { theirs, text: error.to_string() }
    }
}

fn asker(exchange: &Exchange) -> Result<Asker, Refusal> {
    let unauthenticated = |text: String| Refusal::new(StatusCode::UNAUTHORIZED, text);
    match exchange.connection.certificate() {
        None => Err(unauthenticated(
            "delegation needs a connection by https with a client certificate or a proxy of one".to_owned(),
        )),
        Some(Err(error)) => Err(unauthenticated(error.to_string())),
        Some(Ok(identity)) => match &identity.distinguished_name {
            Some(name) => Ok(Asker {
                client: exchange.connection.peer().ip(),
                name: name.clone(),
                chain: exchange.connection.client_chain().unwrap_or_default(),
            }),
            None => Err(unauthenticated("the certificate of this connection names nobody".to_owned())),
        },
    }
}

async fn carry_out(
    service: &Service,
    asker: &Asker,
    call: &Call,
    now: Timestamp,
) -> Result<soap::Result, Fault> {
    let (store, owner) = (&service.delegations, asker.name.as_str());
    let named = |id: &str| DelegationId::named(id, owner);
    Ok(match call {
        Call::GetVersion => soap::Result::Text(env!("CARGO_PKG_VERSION").to_owned()),
        Call::GetInterfaceVersion => soap::interface_version(),
        Call::GetServiceMetadata { .. } => {
            return Err(Fault { theirs: true, text: "this service tells nothing under that key".to_owned() });
        }
        Call::GetProxyReq { id } => {
            let (_, request) = store.begin(owner, Some(named(id)?), now).await?;
            soap::Result::Text(request)
        }
        Call::GetNewProxyReq => {
            let (id, request) = store.begin(owner, None, now).await?;
            soap::Result::Request { request, id: id.to_string() }
        }
        Call::RenewProxyReq { id } => soap::Result::Text(store.renew(owner, named(id)?, now).await?),
        Call::PutProxy { id, proxy } => {
            let longest = service.delegation.longest();
            let id = named(id)?;
            let Accepted { ends_at, renewed } =
                store.accept(owner, &id, proxy, &asker.chain, longest, now)?;
            let step = if renewed { DelegationStep::Renewed } else { DelegationStep::Created };
            tell(service, asker, step(ends_at), &id);
            soap::Result::Done
        }
        Call::GetTerminationTime { id } => soap::Result::Time(store.ends_at(owner, &named(id)?, now)?),
        Call::Destroy { id } => {
            let id = named(id)?;
            store.destroy(owner, &id, now)?;
            tell(service, asker, DelegationStep::Destroyed, &id);
            soap::Result::Done
        }
    })
}

fn tell(service: &Service, asker: &Asker, step: DelegationStep, id: &DelegationId) {
    let who = Who::of_certificate(asker.client, &asker.name);
    service.audit.tell(who, Happening::Delegation { step, delegation: id.to_string(), path: None });
}

fn envelope(status: StatusCode, dialect: Dialect, text: String) -> Answer {
    let mut answer = Response::new(answer::full(text));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(dialect.media_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
