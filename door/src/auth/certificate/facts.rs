//! What stands in a certificate, as far as it matters for whether to believe it; parsed once, owned.

use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::AlgorithmIdentifier;

use super::constraint::NameConstraints;
use super::name::Name;
use super::proxy::{self, ProxyInfo};
use super::signature::{PublicKey, Signed};
use super::voms::attribute_certificate;

/// Extensions beyond this are no certificate of anybody's.
const MAX_EXTENSIONS: usize = 64;

/// What stands in a certificate.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// All of it, to tell whether two are the same.
    pub der: Vec<u8>,
    /// Whose.
    pub subject: Name,
    /// By whom.
    pub issuer: Name,
    /// Its number with the issuer, without leading zeros.
    pub serial: Vec<u8>,
    /// Good from then on.
    pub not_before: Timestamp,
    /// Good until then.
    pub not_after: Timestamp,
    /// The subject's.
    pub key: PublicKey,
    /// The issuer's.
    pub signed: Signed,
    /// basicConstraints: whether it is an authority's.
    pub is_authority: bool,
    /// basicConstraints: how many authorities may be below it.
    pub path_length: Option<u32>,
    /// keyUsage; `None` when it says nothing.
    pub usage: Option<Usage>,
    /// extendedKeyUsage allows it for TLS clients, or says nothing.
    pub for_clients: bool,
    /// nameConstraints.
    pub constraints: Option<NameConstraints>,
    /// Kinds and values of its other names.
    pub other_names: Vec<OtherName>,
    /// It has issuerAltName.
    pub has_issuer_names: bool,
    /// proxyCertInfo.
    pub proxy: Option<ProxyInfo>,
    /// The attributes of a VOMS, not looked into.
    pub attributes: Option<Vec<u8>>,
    /// Demands to be understood, and is not: the object identifier.
    pub unknown_critical: Option<String>,
}

/// For what a key may be used (RFC 5280 §4.2.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// For signatures in a handshake, and on proxies.
    pub digital_signature: bool,
    /// For signatures on certificates.
    pub certificates: bool,
    /// For signatures on revocation lists.
    pub lists: bool,
}

/// A name beside the subject's (RFC 5280 §4.2.1.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OtherName {
    /// A distinguished name.
    Directory(Name),
    /// A mail address.
    Mail(String),
    /// Any other kind.
    Other,
}

impl Certificate {
    /// Reads one. The error says what cannot be read.
    pub fn parse(der: &[u8]) -> Result<Self, &'static str> {
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| "it is no X.509 certificate")?;
        if !rest.is_empty() {
            return Err("there is something behind its end");
        }
        // RFC 5280 §4.1.1.2.
        if parsed.tbs_certificate.signature != parsed.signature_algorithm {
            return Err("it names two algorithms for one signature");
        }
        let mut certificate = Self {
            der: der.to_vec(),
            subject: Name::new(parsed.subject()),
            issuer: Name::new(parsed.issuer()),
            serial: without_zeros(parsed.tbs_certificate.raw_serial()),
            not_before: timestamp(parsed.validity().not_before)?,
            not_after: timestamp(parsed.validity().not_after)?,
            key: PublicKey {
                algorithm: algorithm_inside(first_element(parsed.public_key().raw).ok_or(NO_KEY)?)?,
                bits: parsed.public_key().subject_public_key.data.to_vec(),
            },
            signed: Signed {
                algorithm: signature_algorithm(der)?,
                algorithm_name: algorithm_name(&parsed.signature_algorithm),
                message: parsed.tbs_certificate.as_ref().to_vec(),
                signature: parsed.signature_value.data.to_vec(),
            },
            is_authority: false,
            path_length: None,
            usage: None,
            for_clients: true,
            constraints: None,
            other_names: Vec::new(),
            has_issuer_names: false,
            proxy: None,
            attributes: None,
            unknown_critical: None,
        };
        certificate.read_extensions(&parsed)?;
        Ok(certificate)
    }

    /// Whether it says to be signed by its own subject.
    pub fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    fn read_extensions(&mut self, parsed: &X509Certificate<'_>) -> Result<(), &'static str> {
        let extensions = parsed.extensions();
        if extensions.len() > MAX_EXTENSIONS {
            return Err("it has too many extensions");
        }
        for (index, extension) in extensions.iter().enumerate() {
            // RFC 5280 §4.2.
            if extensions[..index].iter().any(|earlier| earlier.oid == extension.oid) {
                return Err("it has an extension twice");
            }
            match extension.parsed_extension() {
                ParsedExtension::BasicConstraints(basic) => {
                    self.is_authority = basic.ca;
                    self.path_length = basic.path_len_constraint;
                }
                ParsedExtension::KeyUsage(usage) => {
                    self.usage = Some(Usage {
                        digital_signature: usage.digital_signature(),
                        certificates: usage.key_cert_sign(),
                        lists: usage.crl_sign(),
                    });
                }
                ParsedExtension::ExtendedKeyUsage(usage) => {
                    self.for_clients = usage.any || usage.client_auth;
                }
                ParsedExtension::NameConstraints(constraints) => {
                    self.constraints = Some(NameConstraints::new(constraints));
                }
                ParsedExtension::SubjectAlternativeName(names) => {
                    self.other_names = names.general_names.iter().map(other_name).collect();
                }
                ParsedExtension::IssuerAlternativeName(_) => self.has_issuer_names = true,
                // What a site accepts is named by its directory; which policies a certificate was issued under does
                // not matter then. The others say nothing against it, either.
                ParsedExtension::CertificatePolicies(_)
                | ParsedExtension::AuthorityKeyIdentifier(_)
                | ParsedExtension::SubjectKeyIdentifier(_)
                | ParsedExtension::CRLDistributionPoints(_)
                | ParsedExtension::AuthorityInfoAccess(_)
                | ParsedExtension::SubjectInfoAccess(_)
                | ParsedExtension::NSCertType(_)
                | ParsedExtension::NsCertComment(_)
                | ParsedExtension::SCT(_) => {}
                ParsedExtension::ParseError { .. } => return Err("one of its extensions cannot be read"),
                _ if proxy::is_proxy_info(&extension.oid) => {
                    let info = ProxyInfo::parse(extension.value, extension.critical);
                    self.proxy = Some(info.ok_or("its proxyCertInfo cannot be read")?);
                }
                _ if attribute_certificate::is_in(&extension.oid) => {
                    self.attributes = Some(extension.value.to_vec());
                }
                _ if extension.critical => {
                    self.unknown_critical.get_or_insert_with(|| extension.oid.to_id_string());
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn other_name(name: &GeneralName<'_>) -> OtherName {
    match name {
        GeneralName::DirectoryName(name) => OtherName::Directory(Name::new(name)),
        GeneralName::RFC822Name(mail) => OtherName::Mail((*mail).to_owned()),
        _ => OtherName::Other,
    }
}

pub(super) fn timestamp(time: ASN1Time) -> Result<Timestamp, &'static str> {
    Timestamp::from_second(time.timestamp()).map_err(|_| "its time cannot be read")
}

/// Numbers are compared without the zeros that DER puts before some.
pub(super) fn without_zeros(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number[zeros..].to_vec()
}

const NO_KEY: &str = "its key cannot be read";
const NO_ALGORITHM: &str = "its signature's algorithm cannot be read";

/// The contents of the first element in a SEQUENCE.
fn first_element(sequence: &[u8]) -> Option<&[u8]> {
    let (contents, _) = element(sequence)?;
    let (_, rest) = element(contents)?;
    Some(&contents[..contents.len() - rest.len()])
}

/// Certificate and CertificateList are a SEQUENCE of the signed part, the algorithm and the signature.
pub(super) fn signature_algorithm(der: &[u8]) -> Result<Vec<u8>, &'static str> {
    let behind_signed = element(der).and_then(|(contents, _)| element(contents)).map(|(_, rest)| rest);
    algorithm_inside(behind_signed.ok_or(NO_ALGORITHM)?)
}

fn algorithm_inside(algorithm: &[u8]) -> Result<Vec<u8>, &'static str> {
    element(algorithm).map(|(contents, _)| contents.to_vec()).ok_or(NO_ALGORITHM)
}

/// The contents of a DER element, and what follows it (X.690 §8.1). The parser has accepted it before.
fn element(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        short @ 0..=0x7f => (usize::from(short), rest),
        long @ 0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (digits.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

pub(super) fn algorithm_name(algorithm: &AlgorithmIdentifier<'_>) -> String {
    let id = algorithm.algorithm.to_id_string();
    match id.as_str() {
        "1.2.840.113549.1.1.4" => "MD5".to_owned(),
        "1.2.840.113549.1.1.5" | "1.2.840.10045.4.1" | "1.2.840.10040.4.3" => "SHA-1".to_owned(),
        _ => id,
    }
}
