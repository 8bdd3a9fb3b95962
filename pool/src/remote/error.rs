//! What can go wrong between the pool and a remote server, before and around the bulk data.

use std::io;
use std::net::SocketAddr;
use std::time::SystemTime;

use super::rules::Denied;
use super::url::{Origin, UrlError};
use crate::http1::AnswerError;

/// Most redirects of one request.
pub const MAX_REDIRECTS: usize = 20;

/// Why a request has no answer. No text holds a credential.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The rules forbid it.
    #[error("{host}: {denied}")]
    Denied {
        /// As the URL has it.
        host: String,
        /// What is forbidden.
        denied: Denied,
    },
    /// No addresses.
    #[error("the host name {host} cannot be resolved: {problem}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        problem: String,
    },
    /// No address answered.
    #[error("no connection to {origin} after {seconds} s: {}", list(.tried))]
    Connect {
        /// Where to.
        origin: Origin,
        /// Each address, and what became of it.
        tried: Vec<(SocketAddr, String)>,
        /// How long it was tried.
        seconds: u64,
    },
    /// The user's certificate is not good any more.
    #[error("the delegated certificate ended at {}; delegate a new one", when(*.at))]
    CredentialEnded {
        /// The end of its validity.
        at: SystemTime,
    },
    /// The token that the door has got for this copy is not good any more.
    #[error("the token for this copy ended at {}, before its turn came; ask again", when(*.at))]
    TokenEnded {
        /// The end of its validity.
        at: SystemTime,
    },
    /// TLS was not agreed on.
    #[error("TLS with {origin} ({peer}) failed: {problem}")]
    Tls {
        /// Where to.
        origin: Origin,
        /// The address.
        peer: SocketAddr,
        /// What TLS said.
        problem: String,
    },
    /// The connection broke before the answer was there.
    #[error("the connection to {peer} broke before its answer: {}", plain(.error))]
    Broken {
        /// The address.
        peer: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The server closed the connection instead of answering.
    #[error("{peer} closed the connection without an answer")]
    Closed {
        /// The address.
        peer: SocketAddr,
    },
    /// No answer in time.
    #[error("{peer} did not answer within {seconds} s")]
    Silent {
        /// The address.
        peer: SocketAddr,
        /// How long was waited.
        seconds: u64,
    },
    /// The answer is none.
    #[error("the answer of {peer} cannot be used: {error}")]
    Answer {
        /// The address.
        peer: SocketAddr,
        /// What is wrong with it.
        error: AnswerError,
    },
    /// A redirect to where the pool does not go.
    #[error("{from} redirects to what cannot be used: {error}")]
    Redirect {
        /// Who redirects.
        from: Origin,
        /// What is wrong with the URL.
        error: UrlError,
    },
    /// A redirect without a target.
    #[error("{from} redirects ({status}) without a Location")]
    NoLocation {
        /// Who redirects.
        from: Origin,
        /// How.
        status: u16,
    },
    /// Redirects without end.
    #[error("more than {MAX_REDIRECTS} redirects, the last by {from}")]
    TooManyRedirects {
        /// Who redirects.
        from: Origin,
    },
}

fn list(tried: &[(SocketAddr, String)]) -> String {
    let each = tried.iter().map(|(address, problem)| format!("{address} ({problem})"));
    each.collect::<Vec<_>>().join(", ")
}

/// As RFC 3339 has it, in whole seconds.
fn when(at: SystemTime) -> String {
    match jiff::Timestamp::try_from(at) {
        Ok(at) => at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Err(_) => "a time long past".to_owned(),
    }
}

/// A system error in words, without its number.
#[must_use]
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_has_ended_is_told_with_its_end() {
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_927_843_200);
        assert_eq!(
            RemoteError::CredentialEnded { at }.to_string(),
            "the delegated certificate ended at 2031-02-03T00:00:00Z; delegate a new one"
        );
    }

    #[test]
    fn a_connection_that_was_not_made_names_every_address() {
        let error = RemoteError::Connect {
            origin: Origin { secure: true, host: "far.example.org".into(), port: 443 },
            tried: vec![
                ("[2001:db8::1]:443".parse().unwrap(), plain(&io::Error::from_raw_os_error(111))),
                ("192.0.2.1:443".parse().unwrap(), "Connection timed out".into()),
            ],
            seconds: 60,
        };
        assert_eq!(
            error.to_string(),
            "no connection to https://far.example.org:443 after 60 s: [2001:db8::1]:443 (Connection refused), \
             192.0.2.1:443 (Connection timed out)"
        );
    }
}
