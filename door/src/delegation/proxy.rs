//! A proxy certificate that a user has signed for a key of this door (RFC 3820), verified.
//!
//! Whoever brings it has just shown, by TLS, a chain of certificates that the door believes; the proxy must be signed by
//! the very certificate at the head of that chain. So nothing else of the chain is looked at again here, and what the
//! client sends behind the proxy is not used: the chain that TLS has verified is.
//!
//! So the proxy's own signature proves nothing that the handshake has not: who makes the connection has the key that it
//! is by, and could sign any other proxy as well. That is why SHA-1, and the older kind of proxies (`/CN=proxy`), which
//! gridsite-clients make, are good enough here and nowhere else; whether the other site takes them is the other site's
//! affair. All rules of RFC 3820 that can apply to the older kind do.

use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::request::ProxyRequest;
use crate::auth::certificate::facts::Certificate;
use crate::auth::certificate::proxy as rules;
use crate::auth::certificate::signature::SignatureProblem;
use crate::auth::secret::Secret;

/// Longest answer of a client, in bytes, and longest credential that is kept.
pub const MAX_CHAIN_BYTES: usize = 48 << 10;
/// Most certificates in it.
const MAX_CHAIN: usize = 12;
/// Clocks may differ by that.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// Why a proxy is not accepted. The texts are for whoever brings it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// Not PEM, or not certificates.
    #[error("the proxy is not a chain of certificates (PEM)")]
    NotCertificates,
    /// Too much of it.
    #[error("the proxy's chain has more than {MAX_CHAIN} certificates or {MAX_CHAIN_BYTES} bytes")]
    TooLong,
    /// It is for another key.
    #[error(
        "the proxy is not for the key of the request with this delegation id: begin again with getNewProxyReq"
    )]
    OtherKey,
    /// It is not made by who is here.
    #[error("the proxy is not signed by the certificate with which this connection was made")]
    OtherSigner,
    /// It is signed in a way that nobody takes.
    #[error(
        "the proxy is signed with {0}, which no server accepts: use a program that signs with SHA-256 (davix, voms-proxy-init)"
    )]
    Algorithm(String),
    /// It breaks a rule.
    #[error("the proxy is refused: {0}")]
    Rule(&'static str),
    /// It is a certificate, but no proxy.
    #[error(
        "the certificate is no proxy: it has no proxyCertInfo (RFC 3820), and its name is not its issuer's with /CN=proxy; htproxyput makes such ones below a proxy of RFC 3820: give it the certificate itself, or a proxy by grid-proxy-init -old"
    )]
    NotAProxy,
    /// It is of another kind than the proxy that has signed it.
    #[error(
        "a proxy of the older kind (/CN=proxy) and one of RFC 3820 are in one chain, which servers refuse: delegate with the certificate itself, or with a program that makes proxies of the same kind (davix for RFC 3820; for gridsite-clients: grid-proxy-init -old)"
    )]
    MixedKinds,
    /// It allows less than all, in a way that servers would refuse or not understand.
    #[error(
        "the proxy, or who has signed it, is limited: a delegated one has to have all rights of its owner"
    )]
    Limited,
    /// Its signer must not sign any.
    #[error("the certificate with which this connection was made does not allow a further proxy")]
    TooDeep,
    /// An extension that must be understood is not.
    #[error("the proxy has a critical extension that is not known, {0}")]
    Critical(String),
    /// It is over, or nearly.
    #[error("the proxy is not good now: it is good from {from} until {until}")]
    NotNow {
        /// The beginning of its validity.
        from: Timestamp,
        /// The end of it.
        until: Timestamp,
    },
    /// It is good for longer than the door wants to be responsible for it.
    #[error("the proxy is good until {until}; this door takes none that is good for more than {hours} hours")]
    TooLongLived {
        /// The end of its validity.
        until: Timestamp,
        /// What the door allows.
        hours: i64,
    },
}

/// A proxy that can be used.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// The chain, then the key: as pools want it.
    pub pem: Secret,
    /// When the first certificate of it ends.
    pub ends_at: Timestamp,
}

/// Verifies what a client answers to a request.
///
/// `chain`: what the client showed by TLS, its own certificate first; verified.
pub fn accept(
    answer: &str,
    request: &ProxyRequest,
    chain: &[CertificateDer<'_>],
    longest: SignedDuration,
    now: Timestamp,
) -> Result<Proxy, ProxyError> {
    if answer.len() > MAX_CHAIN_BYTES {
        return Err(ProxyError::TooLong);
    }
    let answered: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(answer.as_bytes())
        .take(MAX_CHAIN + 1)
        .collect::<Result<_, _>>()
        .map_err(|_| ProxyError::NotCertificates)?;
    if answered.len() > MAX_CHAIN || chain.len() > MAX_CHAIN {
        return Err(ProxyError::TooLong);
    }
    let proxy = parse(answered.first().ok_or(ProxyError::NotCertificates)?)?;
    let signers = chain.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let signer = signers.first().ok_or(ProxyError::OtherSigner)?;
    if proxy.key.bits != request.public_key() {
        return Err(ProxyError::OtherKey);
    }
    if proxy.issuer != signer.subject {
        return Err(ProxyError::OtherSigner);
    }
    signer.key.verify_unrelied(&proxy.signed).map_err(|problem| match problem {
        SignatureProblem::Algorithm => ProxyError::Algorithm(proxy.signed.algorithm_name.clone()),
        SignatureProblem::Wrong => ProxyError::OtherSigner,
    })?;
    check_rules(&proxy, signer)?;
    check_time(&proxy, longest, now)?;
    used(&proxy, &signers, request)
}

fn parse(der: &CertificateDer<'_>) -> Result<Certificate, ProxyError> {
    Certificate::parse(der).map_err(|_| ProxyError::NotCertificates)
}

fn check_rules(proxy: &Certificate, signer: &Certificate) -> Result<(), ProxyError> {
    if let Some(extension) = &proxy.unknown_critical {
        return Err(ProxyError::Critical(extension.clone()));
    }
    let kind = rules::kind(proxy).ok_or(ProxyError::NotAProxy)?;
    if kind.is_limited() {
        return Err(ProxyError::Limited);
    }
    rules::check(proxy, kind, signer).map_err(ProxyError::Rule)?;
    match rules::kind(signer) {
        None => Ok(()),
        Some(signers) if signers.is_limited() => Err(ProxyError::Limited),
        Some(signers) if !signers.goes_with(kind) => Err(ProxyError::MixedKinds),
        Some(signers) if signers.path_length() == Some(0) => Err(ProxyError::TooDeep),
        Some(_) => Ok(()),
    }
}

fn check_time(proxy: &Certificate, longest: SignedDuration, now: Timestamp) -> Result<(), ProxyError> {
    let (from, until) = (proxy.not_before, proxy.not_after);
    if from.duration_since(now) > SKEW || until <= now {
        return Err(ProxyError::NotNow { from, until });
    }
    if until.duration_since(now) > longest.saturating_add(SKEW) {
        return Err(ProxyError::TooLongLived { until, hours: longest.as_hours() });
    }
    Ok(())
}

/// The proxy and the chain that TLS has verified, without authorities that sign themselves: whoever is shown it has to
/// know them anyway. Behind them the key.
fn used(proxy: &Certificate, signers: &[Certificate], request: &ProxyRequest) -> Result<Proxy, ProxyError> {
    let is_root = |certificate: &Certificate| certificate.is_authority && certificate.is_self_issued();
    let (mut pem, mut ends_at) = (String::new(), proxy.not_after);
    for certificate in std::iter::once(proxy).chain(signers).filter(|certificate| !is_root(certificate)) {
        ends_at = ends_at.min(certificate.not_after);
        push_pem(&mut pem, &certificate.der);
    }
    let mut pem = pem.into_bytes();
    pem.extend_from_slice(request.key().expose());
    if pem.len() > MAX_CHAIN_BYTES {
        return Err(ProxyError::TooLong);
    }
    Ok(Proxy { pem: Secret::new(pem), ends_at })
}

/// RFC 7468 §5.1.
pub(super) fn push_pem(pem: &mut String, der: &[u8]) {
    use base64::Engine as _;
    const LINE: usize = 64;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(LINE) {
        // Base64 is ASCII.
        pem.extend(line.iter().copied().map(char::from));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
}

#[cfg(test)]
mod tests;
