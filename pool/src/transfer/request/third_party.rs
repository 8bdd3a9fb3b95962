//! Third-party copies as a door asks for them: the remote side, and what is to be pulled or pushed.

use std::num::NonZeroU64;
use std::time::SystemTime;

use penstock_door_proto::v1;
use v1::credential::Kind as Given;

use super::decode::{expected, wanted};
use super::{Kind, RequestError, wrong};
use crate::checksum::{AlgorithmSet, Checksum};
use crate::remote::{DoorToken, Headers, RemoteUrl};
use crate::tls::Credential;

/// Most streams that a door may ask for (X-Number-Of-Streams).
const MAX_STREAMS: u32 = 100;

/// The remote side of a third-party copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// Where.
    pub url: RemoteUrl,
    /// Sent with every request; a bearer token that stays as it is among them.
    pub headers: Headers,
    /// Fail when the remote side's checksum cannot be had.
    pub require_checksum_verification: bool,
    /// Do not ask with HEAD first.
    pub no_head: bool,
    /// What servers are shown that ask for a certificate. `None`: the pool's own.
    pub credential: Option<Credential>,
    /// A token of the door's, which it may renew.
    pub token: Option<DoorToken>,
}

/// The pool reads from a remote server.
#[derive(Debug, Clone, PartialEq)]
pub struct Pull {
    /// The source.
    pub remote: Remote,
    /// The size, if the door knows it.
    pub size: Option<u64>,
    /// Larger fails. `None`: the pool's own limit only.
    pub maximum_size: Option<NonZeroU64>,
    /// Each must match what arrives.
    pub expected_checksums: Vec<Checksum>,
    /// Computed beside the pool's own.
    pub wanted_checksums: AlgorithmSet,
    /// Range requests at once, at least 1.
    pub streams: usize,
}

/// The pool writes to a remote server.
#[derive(Debug, Clone, PartialEq)]
pub struct Push {
    /// The destination.
    pub remote: Remote,
}

impl Kind {
    /// The door's token for the remote side, if that is what is shown there.
    #[must_use]
    pub fn door_token(&self) -> Option<&DoorToken> {
        match self {
            Kind::Pull(pull) => pull.remote.token.as_ref(),
            Kind::Push(push) => push.remote.token.as_ref(),
            Kind::Get(_) | Kind::Put(_) | Kind::LocalCopy(_) => None,
        }
    }
}

pub(super) fn pull(pull: v1::Pull) -> Result<Pull, RequestError> {
    if pull.streams > MAX_STREAMS {
        return Err(wrong("pull.streams", format!("must be at most {MAX_STREAMS}")));
    }
    Ok(Pull {
        remote: remote(
            ["pull.remote", "pull.remote.url", "pull.remote.headers", "pull.remote.credential"],
            pull.remote,
        )?,
        size: pull.size,
        maximum_size: NonZeroU64::new(pull.maximum_size),
        expected_checksums: expected("pull.expected_checksums", pull.expected_checksums)?,
        wanted_checksums: wanted("pull.wanted_checksums", &pull.wanted_checksums)?,
        streams: pull.streams.max(1) as usize,
    })
}

pub(super) fn push(push: v1::Push) -> Result<Push, RequestError> {
    let fields = ["push.remote", "push.remote.url", "push.remote.headers", "push.remote.credential"];
    Ok(Push { remote: remote(fields, push.remote)? })
}

/// `fields`: names of the remote side itself, its URL, headers and credential.
fn remote(fields: [&'static str; 4], remote: Option<v1::Remote>) -> Result<Remote, RequestError> {
    let [whole, url, headers, credential] = fields;
    let remote = remote.ok_or_else(|| wrong(whole, "is missing"))?;
    let given = Headers::try_from(remote.headers).map_err(|error| wrong(headers, error.to_string()))?;
    let unprintable = |_| wrong(credential, "the token is not printable ASCII");
    let (mut shown, mut door_token) = (None, None);
    let headers = match remote.credential.and_then(|credential| credential.kind) {
        None => given,
        Some(Given::BearerToken(token)) => given.with_bearer(&token).map_err(unprintable)?,
        Some(Given::Oidc(token)) => {
            // A header of the user's own goes before it.
            if given.get("authorization").is_none() {
                let ends_at = token.expires_at.and_then(|at| SystemTime::try_from(at).ok());
                door_token = Some(DoorToken::new(&token.access_token, ends_at).map_err(unprintable)?);
            }
            given
        }
        Some(Given::X509ProxyPem(pem)) => {
            shown = Some(Credential::parse(&pem).map_err(|error| wrong(credential, error.to_string()))?);
            given
        }
    };
    Ok(Remote {
        url: RemoteUrl::parse(&remote.url).map_err(|error| wrong(url, error.to_string()))?,
        headers,
        require_checksum_verification: remote.require_checksum_verification,
        no_head: remote.no_head,
        credential: shown,
        token: door_token,
    })
}

#[cfg(test)]
mod tests {
    use v1::transfer_request::Kind as Asked;

    use super::super::TransferRequest;
    use super::*;

    fn request(kind: Asked) -> Result<TransferRequest, RequestError> {
        TransferRequest::try_from(v1::TransferRequest {
            transfer_id: "t".into(),
            replica_id: "r".into(),
            transfer_path: "/p".into(),
            kind: Some(kind),
            ..Default::default()
        })
    }

    fn far(url: &str, headers: &[(&str, &str)]) -> Option<v1::Remote> {
        let header =
            |(name, value): &(&str, &str)| v1::Header { name: (*name).into(), value: (*value).into() };
        Some(v1::Remote {
            url: url.into(),
            headers: headers.iter().map(header).collect(),
            ..Default::default()
        })
    }

    #[test]
    fn a_bare_pull_has_one_stream_and_no_limits() {
        let asked = v1::Pull { remote: far("http://far:8080/f", &[]), ..Default::default() };
        let Kind::Pull(pull) = request(Asked::Pull(asked)).unwrap().kind else { panic!("not a pull") };
        assert_eq!((pull.streams, pull.size, pull.maximum_size), (1, None, None));
        assert_eq!(pull.remote.url.to_string(), "http://far:8080/f");
    }

    #[test]
    fn a_token_of_the_door_becomes_a_header_and_shows_nowhere() {
        for kind in [
            Given::BearerToken("SECRET".into()),
            Given::Oidc(v1::OidcToken { access_token: "SECRET".into(), expires_at: None }),
        ] {
            let mut remote = far("https://far/f?authz=SECRET", &[]).unwrap();
            remote.credential = Some(v1::Credential { kind: Some(kind) });
            let request = request(Asked::Push(v1::Push { remote: Some(remote) })).unwrap();
            let Kind::Push(push) = &request.kind else { panic!("not a push") };
            let sent = push.remote.token.as_ref().map_or(push.remote.headers.clone(), DoorToken::field);
            assert_eq!(sent.get("authorization"), Some("Bearer SECRET"));
            assert!(!format!("{request:?}").contains("SECRET"));
        }
    }

    #[test]
    fn every_wrong_field_is_named() {
        let with = |url, headers: &[(&str, &str)]| {
            request(Asked::Pull(v1::Pull { remote: far(url, headers), ..Default::default() }))
        };
        let mut proxy = far("https://far/f", &[]).unwrap();
        proxy.credential = Some(v1::Credential { kind: Some(Given::X509ProxyPem(b"SECRET".to_vec())) });
        let cases = [
            (request(Asked::Pull(v1::Pull::default())), "pull.remote: is missing"),
            (request(Asked::Push(v1::Push::default())), "push.remote: is missing"),
            (with("file:///etc/passwd", &[]), "pull.remote.url: its scheme is 'file'"),
            (with("http://u:p@far/", &[]), "pull.remote.url: it holds a user name"),
            (with("http://far/", &[("X", "a\r\nHost: b")]), "pull.remote.headers: the value of 'X'"),
            (with("http://far/", &[("X: y", "a")]), "pull.remote.headers: 'X: y' is not a header name"),
            (
                request(Asked::Pull(v1::Pull {
                    remote: far("http://far/", &[]),
                    streams: 101,
                    ..Default::default()
                })),
                "pull.streams: must be at most 100",
            ),
            (
                request(Asked::Push(v1::Push { remote: Some(proxy) })),
                "push.remote.credential: it does not begin with a chain of certificates (PEM)",
            ),
        ];
        for (result, expected) in cases {
            let error = result.unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error:?} does not start with {expected:?}");
        }
    }
}
