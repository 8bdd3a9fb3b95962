//! Where a request leads besides its own path: the headers `Destination` and `Overwrite`, and URLs within `If`.

use hyper::StatusCode;
use hyper::header;
use url::Url;

use super::answer::Refusal;
use super::copy::headers::{overwrite, single};
use super::copy::remote::{RemoteError, RemoteUrl};
use super::exchange::Exchange;
use super::reserved;
use crate::namespace::NsPath;

/// What a URL leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// A path of this door, as the client names it.
    Here(NsPath),
    /// Another server.
    Elsewhere,
}

/// Where a MOVE, or a COPY from name to name, leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// What the client calls it.
    pub view_path: NsPath,
    /// What it is.
    pub path: NsPath,
    /// What is there may go.
    pub overwrite: bool,
}

impl Destination {
    /// Reads the headers of a request that must have them.
    pub fn of(exchange: &Exchange) -> Result<Self, Refusal> {
        let Some(url) = single(exchange.headers(), "destination")? else {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "the header Destination is missing"));
        };
        match read(exchange, url, "Destination")? {
            Reference::Here(view_path) => Self::at(exchange, view_path),
            // RFC 4918 §9.9.4.
            Reference::Elsewhere => Err(Refusal::new(
                StatusCode::BAD_GATEWAY,
                "the Destination is at another server, to which nothing can be moved: copy it and delete it here",
            )),
        }
    }

    /// Of a path that has been read.
    pub fn at(exchange: &Exchange, view_path: NsPath) -> Result<Self, Refusal> {
        let path = exchange.access.real_path(&view_path)?;
        if reserved::is_or_holds(&view_path) || reserved::is_or_holds(&path) {
            // Nobody would reach it any more, or what comes with it.
            let text = "the Destination is a name that this door keeps for itself, or above one";
            return Err(Refusal::new(StatusCode::FORBIDDEN, text));
        }
        let overwrite = overwrite(single(exchange.headers(), "overwrite")?)?;
        Ok(Self { view_path, path, overwrite })
    }
}

/// Reads a URL, or a path alone. `header` names where it stood, for the error.
pub fn read(exchange: &Exchange, url: &str, header: &'static str) -> Result<Reference, Refusal> {
    if url.starts_with('/') && !url.starts_with("//") {
        if url.contains('#') {
            return Err(fragment(header));
        }
        let path = url.split('?').next().unwrap_or(url);
        return Ok(Reference::Here(NsPath::from_url(path)?));
    }
    match RemoteUrl::parse(url, header) {
        Ok(remote) if is_here(exchange, &remote) => match Url::parse(remote.as_str()) {
            Ok(_) if url.contains('#') => Err(fragment(header)),
            Ok(url) => Ok(Reference::Here(NsPath::from_url(url.path())?)),
            Err(_) => Err(RemoteError::NotAUrl(header).into()),
        },
        Ok(_) | Err(RemoteError::Scheme(_) | RemoteError::Userinfo(_) | RemoteError::Denied(..)) => {
            Ok(Reference::Elsewhere)
        }
        Err(error @ RemoteError::NotAUrl(_)) => Err(error.into()),
    }
}

/// RFC 4918 §8.3: a URL here has no fragment. Who means "run#12" does not mean "run".
fn fragment(header: &str) -> Refusal {
    let text = format!("there is a \"#\" in the header {header}: as a part of a name it is written %23");
    Refusal::new(StatusCode::BAD_REQUEST, text)
}

/// Whether a URL is one of this door: by its configured URL, its address, or the name by which the client has reached
/// it.
fn is_here(exchange: &Exchange, url: &RemoteUrl) -> bool {
    let host = exchange.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let own = exchange.service.own_url.split_once("://").map(|(_, authority)| authority);
    let reached = exchange.head.uri.authority().map(|authority| authority.as_str());
    [host, own, reached].into_iter().flatten().any(|authority| url.is_at(authority))
}
