//! Revocation lists: which certificates an authority has taken back (RFC 5280 §5).

use std::collections::HashSet;

use jiff::Timestamp;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::facts::{self, Certificate};
use super::name::Name;
use super::signature::{SignatureProblem, Signed};

/// What one authority has taken back.
#[derive(Debug, Clone)]
pub struct RevocationList {
    /// Whose list.
    pub issuer: Name,
    /// Made then.
    pub this_update: Timestamp,
    /// There is a newer one from then on.
    pub next_update: Option<Timestamp>,
    serials: HashSet<Vec<u8>>,
    signed: Signed,
}

impl RevocationList {
    /// Reads one. The error says why it is of no use.
    pub fn parse(der: &[u8]) -> Result<Self, &'static str> {
        let (rest, parsed) =
            CertificateRevocationList::from_der(der).map_err(|_| "it is no revocation list")?;
        if !rest.is_empty() {
            return Err("there is something behind its end");
        }
        for extension in parsed.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::IssuingDistributionPoint(point)
                    if point.only_contains_ca_certs
                        || point.only_contains_attribute_certs
                        || point.only_some_reasons.is_some()
                        || point.indirect_crl =>
                {
                    return Err("it is of a part of the certificates only");
                }
                ParsedExtension::IssuingDistributionPoint(_)
                | ParsedExtension::AuthorityKeyIdentifier(_)
                | ParsedExtension::CRLNumber(_) => {}
                _ if extension.critical => return Err("it demands that an unknown extension is understood"),
                _ => {}
            }
        }
        Ok(Self {
            issuer: Name::new(parsed.issuer()),
            this_update: facts::timestamp(parsed.last_update())?,
            next_update: parsed.next_update().map(facts::timestamp).transpose()?,
            serials: parsed
                .iter_revoked_certificates()
                .map(|revoked| facts::without_zeros(revoked.raw_serial()))
                .collect(),
            signed: Signed {
                algorithm: facts::signature_algorithm(der)?,
                algorithm_name: facts::algorithm_name(&parsed.signature_algorithm),
                message: parsed.tbs_cert_list.as_ref().to_vec(),
                signature: parsed.signature_value.data.to_vec(),
            },
        })
    }

    /// Why it is not this authority's.
    pub fn check_signature(&self, authority: &Certificate) -> Result<(), String> {
        if authority.usage.is_some_and(|usage| !usage.lists) {
            return Err(format!("{} may not sign revocation lists", authority.subject));
        }
        authority.key.verify(&self.signed).map_err(|problem| match problem {
            SignatureProblem::Algorithm => {
                format!("it is signed with {}, which is not accepted", self.signed.algorithm_name)
            }
            SignatureProblem::Wrong => format!("it is not signed by {}", authority.subject),
        })
    }

    /// Lets go of what is not needed once the signature was checked.
    pub fn checked(mut self) -> Self {
        self.signed.message = Vec::new();
        self
    }

    /// Whether it has taken a certificate back.
    pub fn revokes(&self, certificate: &Certificate) -> bool {
        self.serials.contains(&certificate.serial)
    }

    /// Whether there should be a newer one by now.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.next_update.is_some_and(|next| next < now)
    }
}
