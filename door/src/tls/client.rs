//! Certificates of clients within the handshake: every one is let in that its client has the key of. Whether it is any
//! good is told after the handshake, in words.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, PeerMisbehaved, SignatureScheme,
};

use crate::auth::certificate::facts::Certificate;
use crate::auth::certificate::signature::algorithms;

/// Asks clients for a certificate, and makes nobody show one.
#[derive(Debug)]
pub struct AskClients;

impl ClientCertVerifier for AskClients {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: a grid's authorities would make every handshake longer by ten kilobytes, and the issuer of a proxy is not
    /// among them.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // On purpose: see above.
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify(message, certificate, signed, algorithms_of(signed.scheme)?)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if !is_of_13(signed.scheme) {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        // TLS 1.3 says by the scheme which curve it is: the first algorithm is the one.
        let first = algorithms_of(signed.scheme)?.get(..1).unwrap_or_default();
        verify(message, certificate, signed, first)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

/// RFC 8446 §4.2.3: PKCS #1 v1.5 is for certificates only, and so is everything older.
fn is_of_13(scheme: SignatureScheme) -> bool {
    matches!(
        scheme,
        SignatureScheme::ECDSA_NISTP256_SHA256
            | SignatureScheme::ECDSA_NISTP384_SHA384
            | SignatureScheme::ECDSA_NISTP521_SHA512
            | SignatureScheme::RSA_PSS_SHA256
            | SignatureScheme::RSA_PSS_SHA384
            | SignatureScheme::RSA_PSS_SHA512
            | SignatureScheme::ED25519
            | SignatureScheme::ED448
    )
}

fn algorithms_of(
    scheme: SignatureScheme,
) -> Result<&'static [&'static dyn SignatureVerificationAlgorithm], Error> {
    let known = algorithms().mapping.iter().find(|(known, _)| *known == scheme);
    known
        .map(|(_, algorithms)| *algorithms)
        .ok_or_else(|| PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into())
}

/// rustls' own check refuses proxies, whose extension it does not know; so the key is taken out here.
fn verify(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Result<HandshakeSignatureValid, Error> {
    let certificate = Certificate::parse(certificate)
        .map_err(|problem| Error::General(format!("the client's certificate cannot be read: {problem}")))?;
    let mut of_this_key = algorithms
        .iter()
        .filter(|algorithm| algorithm.public_key_alg_id().as_ref() == certificate.key.algorithm)
        .peekable();
    if of_this_key.peek().is_none() {
        return Err(PeerIncompatible::NoSignatureSchemesInCommon.into());
    }
    let is_good = of_this_key.any(|algorithm| {
        algorithm.verify_signature(&certificate.key.bits, message, signed.signature()).is_ok()
    });
    if is_good {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(Error::InvalidCertificate(rustls::CertificateError::BadSignature))
    }
}
