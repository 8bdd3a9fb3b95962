//! From a client's certificate to an authority that the site trusts: over proxies (RFC 3820 §4) to their owner's
//! certificate, and from there over authorities (RFC 5280 §6).

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;

use super::authorities::Trust;
use super::error::CertificateError;
use super::facts::Certificate;
use super::name::Name;
use super::proxy;
use super::revocation::RevocationList;
use super::signature::SignatureProblem;
use super::voms;
use crate::auth::identity::{Identity, Scheme};

/// Certificates that a client may show.
const MAX_SHOWN: usize = 24;
/// Proxies between a client and its owner's certificate.
const MAX_PROXIES: usize = 12;
/// Authorities above that.
const MAX_AUTHORITIES: usize = 10;
/// Signatures that are looked at for one client: names that occur several times must not cost more.
const MAX_SIGNATURES: usize = 64;

/// How many signatures may still be looked at for one client.
#[derive(Debug)]
pub struct Signatures(usize);

impl Signatures {
    fn take(&mut self) -> Result<(), CertificateError> {
        self.0 = self.0.checked_sub(1).ok_or(CertificateError::TooLong)?;
        Ok(())
    }
}

/// Whose a chain is. `host`: what the door is called, for attributes that are meant for certain hosts.
pub fn verify(
    trust: &Trust,
    host: Option<&str>,
    chain: &[CertificateDer<'_>],
    now: Timestamp,
) -> Result<Identity, CertificateError> {
    if chain.len() > MAX_SHOWN {
        return Err(CertificateError::TooLong);
    }
    let malformed = |index: usize, problem| CertificateError::Malformed { number: index + 1, problem };
    let parse = |(index, der): (usize, &CertificateDer<'_>)| {
        Certificate::parse(der).map_err(|problem| malformed(index, problem))
    };
    let shown = chain.iter().enumerate().map(parse).collect::<Result<Vec<_>, _>>()?;
    let own = shown.first().ok_or(malformed(0, "there is none"))?;
    let mut signatures = Signatures(MAX_SIGNATURES);
    let mut walk = Walk {
        trust,
        shown: &shown,
        now,
        signatures: &mut signatures,
        ends_at: Timestamp::MAX,
        attributes: None,
    };
    // TLS 1.3 demands a signature of every client (RFC 8446 §4.4.3); 1.2 has had no other way for long.
    if own.usage.is_some_and(|usage| !usage.digital_signature) {
        return Err(CertificateError::Purpose {
            subject: own.subject.to_string(),
            purpose: "signatures, which a handshake needs",
        });
    }
    let (owner, limited) = walk.over_proxies(own)?;
    check_user(owner)?;
    drop(walk.over_authorities(owner)?);
    let (ends_at, extension) = (walk.ends_at, walk.attributes);
    let attributes = extension.zip(trust.servers()).map(|(extension, servers)| {
        let asked = voms::Asked { trust, servers, host, owner, now };
        voms::attributes(asked, extension, &mut signatures)
    });
    let attributes = attributes.unwrap_or_default();
    let name = owner.subject.to_string();
    Ok(Identity {
        distinguished_name: Some(name.clone()),
        groups: attributes.groups,
        ignored: attributes.ignored.map(|error| error.to_string()),
        expires_at: Some(attributes.ends_at.map_or(ends_at, |first| first.min(ends_at))),
        limited,
        ..Identity::new(Scheme::Certificate, name)
    })
}

/// The names on the way from a server's certificate, the first of those that were shown, to an authority that the site
/// trusts, both included; and who has signed the last one, if that is another.
pub fn of_server<'a>(
    trust: &'a Trust,
    shown: &'a [Certificate],
    now: Timestamp,
    signatures: &mut Signatures,
) -> Result<Vec<&'a Name>, CertificateError> {
    let server = shown.first().ok_or(CertificateError::Malformed { number: 1, problem: "there is none" })?;
    let mut walk = Walk { trust, shown, now, signatures, ends_at: Timestamp::MAX, attributes: None };
    let path = walk.over_authorities(server)?;
    let above = path.last().filter(|last| !last.is_self_issued()).map(|last| &last.issuer);
    Ok(path.iter().map(|certificate| &certificate.subject).chain(above).collect())
}

/// What holds for the owner of a connection, beyond what holds for every end of a path.
fn check_user(owner: &Certificate) -> Result<(), CertificateError> {
    if owner.for_clients { Ok(()) } else { Err(not_for_clients(owner)) }
}

struct Walk<'a, 's> {
    trust: &'a Trust,
    shown: &'a [Certificate],
    now: Timestamp,
    signatures: &'s mut Signatures,
    /// When the first of all certificates on the way ends.
    ends_at: Timestamp,
    /// The attributes of a VOMS in the proxy that is nearest to the client.
    attributes: Option<&'a [u8]>,
}

/// Who has signed a certificate.
struct Issuer<'a> {
    certificate: &'a Certificate,
    list: Option<&'a RevocationList>,
    /// The site trusts it; else the client has shown it.
    is_trusted: bool,
}

impl<'a> Walk<'a, '_> {
    /// The certificate of the proxies' owner, and whether one of them is limited.
    fn over_proxies(&mut self, own: &'a Certificate) -> Result<(&'a Certificate, bool), CertificateError> {
        let mut current = own;
        let mut limited = false;
        let mut below: u32 = 0;
        let mut kind_below = None;
        while let Some(kind) = proxy::kind(current) {
            let refused = |problem| CertificateError::Proxy { subject: current.subject.to_string(), problem };
            self.check(current)?;
            if !current.for_clients {
                return Err(not_for_clients(current));
            }
            self.attributes = self.attributes.or(current.attributes.as_deref());
            if below as usize >= MAX_PROXIES {
                return Err(CertificateError::TooLong);
            }
            if kind_below.is_some_and(|other| !kind.goes_with(other)) {
                return Err(refused("the proxy below it is of another kind"));
            }
            // RFC 3820 §4.1.3: the number of proxies below it.
            if kind.path_length().is_some_and(|most| most < below) {
                return Err(refused("it allows fewer proxies below it than there are"));
            }
            limited |= kind.is_limited();
            let mut named = self.shown.iter().filter(|other| other.subject == current.issuer).peekable();
            if named.peek().is_none() {
                return Err(refused("the certificate that it was made with was not sent along"));
            }
            let mut problem = None;
            let issuer = named.find(|issuer| match self.check_signature(current, issuer) {
                Ok(()) => true,
                Err(error) => {
                    problem.get_or_insert(error);
                    false
                }
            });
            let issuer = match (issuer, problem) {
                (Some(issuer), _) => issuer,
                (None, Some(problem)) => return Err(problem),
                // `find` has looked at one at least.
                (None, None) => return Err(CertificateError::TooLong),
            };
            proxy::check(current, kind, issuer).map_err(refused)?;
            below += 1;
            kind_below = Some(kind);
            current = issuer;
        }
        Ok((current, limited))
    }

    /// All certificates from somebody's to the authority that the site trusts.
    fn over_authorities(&mut self, end: &'a Certificate) -> Result<Vec<&'a Certificate>, CertificateError> {
        self.check(end)?;
        let purpose = |purpose| CertificateError::Purpose { subject: end.subject.to_string(), purpose };
        if end.is_authority {
            return Err(purpose("a user or a server: it is an authority's"));
        }
        if end.subject.is_empty() {
            return Err(purpose("a user or a server: it has no name"));
        }
        if end.subject.is_ambiguous() {
            return Err(CertificateError::AmbiguousName { subject: end.subject.to_string() });
        }
        let mut path = vec![end];
        let mut is_trusted = false;
        // Authorities below that have not signed themselves (RFC 5280 §4.2.1.9).
        let mut below: u32 = 0;
        let mut current = end;
        while !(is_trusted && current.is_self_issued()) {
            let Some(issuer) = self.issuer_of(current, is_trusted)? else {
                if is_trusted {
                    break;
                }
                return Err(CertificateError::UnknownAuthority {
                    subject: current.subject.to_string(),
                    issuer: current.issuer.to_string(),
                });
            };
            if path.len() > MAX_AUTHORITIES {
                return Err(CertificateError::TooLong);
            }
            self.check_authority(&issuer, current, &path, below)?;
            current = issuer.certificate;
            is_trusted = issuer.is_trusted;
            below += u32::from(!current.is_self_issued());
            path.push(current);
        }
        Ok(path)
    }

    /// Whether an authority may have signed what it has.
    fn check_authority(
        &mut self,
        issuer: &Issuer<'_>,
        signed: &Certificate,
        path: &[&Certificate],
        below: u32,
    ) -> Result<(), CertificateError> {
        let authority = issuer.certificate;
        self.check(authority)?;
        let (subject, name) = (signed.subject.to_string(), authority.subject.to_string());
        if !authority.is_authority || authority.usage.is_some_and(|usage| !usage.certificates) {
            return Err(CertificateError::NotAnAuthority { subject, issuer: name });
        }
        if authority.path_length.is_some_and(|most| most < below) {
            return Err(CertificateError::AuthorityDepth { issuer: name });
        }
        if let Some(list) = issuer.list {
            if list.has_ended(self.now) {
                return Err(CertificateError::ListEnded { issuer: name });
            }
            if list.revokes(signed) {
                return Err(CertificateError::Revoked { subject, issuer: name });
            }
        }
        if !signed.is_self_issued() && !self.trust.namespaces.allow(&name, &subject) {
            return Err(CertificateError::Namespace { subject, issuer: name });
        }
        if let Some(constraints) = &authority.constraints {
            // All below it, but authorities that have signed themselves (RFC 5280 §6.1.3).
            for (index, one) in path.iter().enumerate() {
                if (index == 0 || !one.is_self_issued()) && !constraints.allow(one) {
                    return Err(CertificateError::Namespace {
                        subject: one.subject.to_string(),
                        issuer: name,
                    });
                }
            }
        }
        Ok(())
    }

    /// What holds for every certificate on the way.
    fn check(&mut self, certificate: &Certificate) -> Result<(), CertificateError> {
        let subject = || certificate.subject.to_string();
        if self.now < certificate.not_before {
            return Err(CertificateError::NotYet { subject: subject(), from: certificate.not_before });
        }
        if self.now > certificate.not_after {
            return Err(CertificateError::Ended { subject: subject(), at: certificate.not_after });
        }
        if let Some(extension) = &certificate.unknown_critical {
            return Err(CertificateError::Critical { subject: subject(), extension: extension.clone() });
        }
        self.ends_at = self.ends_at.min(certificate.not_after);
        Ok(())
    }

    /// Who has signed a certificate: one that the site trusts, or one that the client has shown; but above one that the
    /// site trusts, only those that it trusts.
    fn issuer_of(
        &mut self,
        certificate: &Certificate,
        trusted_only: bool,
    ) -> Result<Option<Issuer<'a>>, CertificateError> {
        let (trust, shown) = (self.trust, self.shown);
        let trusted = trust.named(&certificate.issuer).iter().map(|anchor| Issuer {
            certificate: &anchor.certificate,
            list: anchor.list.as_ref(),
            is_trusted: true,
        });
        let shown = shown
            .iter()
            .filter(|one| !trusted_only && one.subject == certificate.issuer && one.der != certificate.der)
            .map(|certificate| Issuer { certificate, list: None, is_trusted: false });
        let mut problem = None;
        for issuer in trusted.chain(shown) {
            match self.check_signature(certificate, issuer.certificate) {
                Ok(()) => return Ok(Some(issuer)),
                Err(error) => drop(problem.get_or_insert(error)),
            }
        }
        problem.map_or(Ok(None), Err)
    }

    fn check_signature(&mut self, signed: &Certificate, by: &Certificate) -> Result<(), CertificateError> {
        self.signatures.take()?;
        by.key.verify(&signed.signed).map_err(|problem| {
            let (subject, issuer) = (signed.subject.to_string(), by.subject.to_string());
            match problem {
                SignatureProblem::Algorithm => {
                    CertificateError::Algorithm { subject, algorithm: signed.signed.algorithm_name.clone() }
                }
                SignatureProblem::Wrong if by.key.is_weak() => CertificateError::WeakKey { subject: issuer },
                SignatureProblem::Wrong => CertificateError::BadSignature { subject, issuer },
            }
        })
    }
}

fn not_for_clients(certificate: &Certificate) -> CertificateError {
    CertificateError::Purpose { subject: certificate.subject.to_string(), purpose: "clients of TLS" }
}
