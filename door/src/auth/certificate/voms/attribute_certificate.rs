//! Attribute certificates as VOMS writes them into a proxy: RFC 5755 §4.1, with the attributes and extensions below
//! 1.3.6.1.4.1.8005.100.100.

use jiff::Timestamp;
use x509_parser::asn1_rs::{Any, Class, FromDer, Oid, Tag, oid};
use x509_parser::extensions::GeneralName;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{AlgorithmIdentifier, X509Name};

use super::super::facts;
use super::super::name::Name;
use super::super::signature::Signed;
use super::targets;

/// Attribute certificates in one proxy: mostly one, one for each VO.
const MAX_CERTIFICATES: usize = 8;
/// Groups and roles in one.
const MAX_GROUPS: usize = 256;
/// Longest of them, in bytes.
const MAX_GROUP_BYTES: usize = 512;
/// Certificates of its server and those above it.
const MAX_SERVERS: usize = 10;
/// Names of the holder.
const MAX_NAMES: usize = 4;
/// Longest name of a VO or a host, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// What one server of a VO says of somebody.
#[derive(Debug, Clone)]
pub struct AttributeCertificate {
    /// Of whom.
    pub holder: Holder,
    /// Who says it.
    pub issuer: Name,
    /// Good from then on.
    pub not_before: Timestamp,
    /// Good until then.
    pub not_after: Timestamp,
    /// The VO.
    pub vo: String,
    /// The server's host, in lower case.
    pub host: String,
    /// Groups and roles, all of the VO.
    pub groups: Vec<String>,
    /// The server's certificate, and those above it, in DER.
    pub certificates: Vec<Vec<u8>>,
    /// The server's signature.
    pub signed: Signed,
    /// The hosts that it is for, in lower case; `None` where it is for all.
    pub targets: Option<Vec<String>>,
    /// Demands to be understood, and is not: the object identifier.
    pub unknown_critical: Option<String>,
}

/// A certificate, named by the issuer (or, by VOMS, the subject) and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Any of these.
    pub names: Vec<Name>,
    /// The number, without leading zeros.
    pub serial: Vec<u8>,
}

/// Whether an extension of a certificate holds attribute certificates.
pub fn is_in(oid: &Oid<'_>) -> bool {
    *oid == oid!(1.3.6.1.4.1.8005.100.100.5)
}

/// All that stand in the extension of a proxy: `SEQUENCE { SEQUENCE OF AttributeCertificate }`.
pub fn parse_all(extension: &[u8]) -> Result<Vec<AttributeCertificate>, &'static str> {
    const WRONG: &str = "they are not as VOMS writes them";
    let mut outer = Der(extension);
    let mut inner = outer.sequence().ok_or(WRONG)?;
    let mut list = inner.sequence().ok_or(WRONG)?;
    if !outer.is_empty() || !inner.is_empty() {
        return Err(WRONG);
    }
    let mut found = Vec::new();
    while !list.is_empty() {
        if found.len() >= MAX_CERTIFICATES {
            return Err("there are too many of them");
        }
        let one = list.take(Class::Universal, Tag::Sequence).ok_or(WRONG)?;
        found.push(AttributeCertificate::parse(one)?);
    }
    Ok(found)
}

impl AttributeCertificate {
    fn parse(one: Element<'_>) -> Result<Self, &'static str> {
        const WRONG: &str = "an attribute certificate cannot be read";
        let mut outer = Der(one.contents);
        let info = outer.take(Class::Universal, Tag::Sequence).ok_or(WRONG)?;
        let algorithm = outer.take(Class::Universal, Tag::Sequence).ok_or(WRONG)?;
        let signature = outer.take(Class::Universal, Tag::BitString).ok_or(WRONG)?;
        let ([], [0, signature @ ..]) = (outer.0, signature.contents) else { return Err(WRONG) };
        let named = AlgorithmIdentifier::from_der(algorithm.whole).map_err(|_| WRONG)?.1;

        let mut fields = Der(info.contents);
        // Version 2.
        if fields.take(Class::Universal, Tag::Integer).ok_or(WRONG)?.contents != [1] {
            return Err("an attribute certificate is of another version than 2");
        }
        let holder = fields.sequence().and_then(holder).ok_or("whom they are for cannot be read")?;
        let issuer = fields.tagged(0).and_then(issuer).ok_or("who has made them cannot be read")?;
        if fields.take(Class::Universal, Tag::Sequence).ok_or(WRONG)?.contents != algorithm.contents {
            return Err("an attribute certificate names two algorithms for one signature");
        }
        let _number = fields.take(Class::Universal, Tag::Integer).ok_or(WRONG)?;
        let mut validity = fields.sequence().ok_or(WRONG)?;
        let (not_before, not_after) = (validity.time().ok_or(WRONG)?, validity.time().ok_or(WRONG)?);
        let attributes = fields.sequence().ok_or(WRONG)?;
        let _unique_id = fields.take(Class::Universal, Tag::BitString);
        let extensions = if fields.is_empty() { None } else { Some(fields.sequence().ok_or(WRONG)?) };
        if !fields.is_empty() || !validity.is_empty() {
            return Err(WRONG);
        }
        let (vo, host, groups) = memberships(attributes)?;
        let mut certificate = Self {
            holder,
            issuer,
            not_before,
            not_after,
            vo,
            host,
            groups,
            certificates: Vec::new(),
            signed: Signed {
                algorithm: algorithm.contents.to_vec(),
                algorithm_name: facts::algorithm_name(&named),
                message: info.whole.to_vec(),
                signature: signature.to_vec(),
            },
            targets: None,
            unknown_critical: None,
        };
        certificate.read_extensions(extensions.unwrap_or_default())?;
        Ok(certificate)
    }

    fn read_extensions(&mut self, mut extensions: Der<'_>) -> Result<(), &'static str> {
        const WRONG: &str = "one of their extensions cannot be read";
        let mut has_certificates = false;
        while !extensions.is_empty() {
            let mut extension = extensions.sequence().ok_or(WRONG)?;
            let kind = extension.oid().ok_or(WRONG)?;
            let critical = extension.take(Class::Universal, Tag::Boolean);
            let critical = critical.is_some_and(|critical| critical.contents != [0]);
            let value = extension.take(Class::Universal, Tag::OctetString).ok_or(WRONG)?.contents;
            if !extension.is_empty() {
                return Err(WRONG);
            }
            if kind == oid!(1.3.6.1.4.1.8005.100.100.10) {
                if has_certificates {
                    return Err("they have an extension twice");
                }
                has_certificates = true;
                self.certificates = certificates(Der(value)).ok_or(WRONG)?;
            } else if kind == oid!(2.5.29.55) {
                // Counts whether it is marked as critical or not, as RFC 5755 §4.3.2 would have it: who limits
                // attributes to some hosts means it.
                if self.targets.is_some() {
                    return Err("they have an extension twice");
                }
                self.targets = Some(targets::hosts(Der(value)).ok_or(WRONG)?);
            } else if kind == oid!(2.5.29.56) || kind == oid!(2.5.29.35) {
                // noRevAvail: there is no list of those that were taken back, they are short-lived. The issuer's key is
                // that of the certificate that stands among them.
            } else if critical {
                self.unknown_critical.get_or_insert_with(|| kind.to_id_string());
            }
        }
        Ok(())
    }
}

/// `Holder ::= SEQUENCE { baseCertificateID [0] SEQUENCE { issuer GeneralNames, serial INTEGER, … }, … }`.
fn holder(mut holder: Der<'_>) -> Option<Holder> {
    let mut base = holder.tagged(0)?;
    let names = directory_names(base.sequence()?)?;
    let serial = base.take(Class::Universal, Tag::Integer)?;
    // Were the owner named in a second way, both would have to be looked at.
    (!names.is_empty() && holder.is_empty())
        .then(|| Holder { names, serial: facts::without_zeros(serial.contents) })
}

/// `V2Form ::= SEQUENCE { issuerName GeneralNames, … }`: one name (RFC 5755 §4.2.3).
fn issuer(mut form: Der<'_>) -> Option<Name> {
    let mut names = directory_names(form.sequence()?)?;
    let only = names.pop()?;
    (names.is_empty() && form.is_empty()).then_some(only)
}

fn directory_names(mut names: Der<'_>) -> Option<Vec<Name>> {
    let mut found = Vec::new();
    while !names.is_empty() {
        if found.len() >= MAX_NAMES {
            return None;
        }
        // directoryName [4] Name: with a tag around it, as Name is a choice.
        let mut inner = names.tagged(4)?;
        let name = inner.take(Class::Universal, Tag::Sequence)?;
        let (_, name) = X509Name::from_der(name.whole).ok()?;
        found.push(Name::new(&name));
        if !inner.is_empty() {
            return None;
        }
    }
    Some(found)
}

/// The attribute of groups and roles: VO, host, and these. Others do not matter here.
fn memberships(mut attributes: Der<'_>) -> Result<(String, String, Vec<String>), &'static str> {
    const WRONG: &str = "their groups cannot be read";
    let mut found = None;
    while !attributes.is_empty() {
        let mut attribute = attributes.sequence().ok_or(WRONG)?;
        let kind = attribute.oid().ok_or(WRONG)?;
        let values = attribute.take(Class::Universal, Tag::Set).ok_or(WRONG)?;
        if kind != oid!(1.3.6.1.4.1.8005.100.100.4) {
            continue;
        }
        if found.is_some() {
            return Err("they have their groups twice");
        }
        // IetfAttrSyntax ::= SEQUENCE { policyAuthority [0] GeneralNames, values SEQUENCE OF … }, once.
        let mut values = Der(values.contents);
        let mut value = values.sequence().ok_or(WRONG)?;
        let authority = value.tagged(0).ok_or("they do not say which VO they are of")?;
        let (vo, host) = vo_and_host(authority).ok_or("the name of their VO or its server cannot be read")?;
        let groups = value.sequence().and_then(texts).ok_or(WRONG)?;
        if !values.is_empty() || !value.is_empty() {
            return Err(WRONG);
        }
        let groups: Option<Vec<String>> = groups.into_iter().map(|text| group(text, &vo)).collect();
        found = Some((vo, host, groups.ok_or("one of their groups is none of this VO")?));
    }
    found.ok_or("they name no group")
}

/// `vo://host:port`.
fn vo_and_host(authority: Der<'_>) -> Option<(String, String)> {
    let (rest, GeneralName::URI(text)) = GeneralName::from_der(authority.0).ok()? else { return None };
    let (vo, address) = text.split_once("://")?;
    let (host, port) = address.rsplit_once(':')?;
    // Both become parts of a file's path.
    let is_name = |name: &str| {
        let usual = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        !name.starts_with('.') && (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(usual)
    };
    (rest.is_empty() && is_name(vo) && is_name(host) && port.parse::<u16>().is_ok())
        .then(|| (vo.to_owned(), host.to_ascii_lowercase()))
}

/// The values, which VOMS writes as octets.
fn texts<'a>(mut values: Der<'a>) -> Option<Vec<&'a [u8]>> {
    let mut found = Vec::new();
    while !values.is_empty() {
        let value = values.take(Class::Universal, Tag::OctetString)?.contents;
        if found.len() >= MAX_GROUPS || value.len() > MAX_GROUP_BYTES {
            return None;
        }
        found.push(value);
    }
    Some(found)
}

/// `/vo/group/Role=role/Capability=capability`, without a role or capability of `NULL`, which is none.
fn group(text: &[u8], vo: &str) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let text = text.strip_suffix("/Capability=NULL").unwrap_or(text);
    let text = text.strip_suffix("/Role=NULL").unwrap_or(text);
    let mut parts = text.strip_prefix('/')?.split('/');
    let is_of_vo = parts.next() == Some(vo);
    let is_sound = |part: &str| !part.is_empty() && part.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    (is_of_vo && parts.all(is_sound)).then(|| text.to_owned())
}

/// `SEQUENCE { SEQUENCE OF Certificate }`.
fn certificates(mut value: Der<'_>) -> Option<Vec<Vec<u8>>> {
    let mut outer = value.sequence()?;
    let mut list = outer.sequence()?;
    let mut found = Vec::new();
    while !list.is_empty() {
        if found.len() >= MAX_SERVERS {
            return None;
        }
        found.push(list.take(Class::Universal, Tag::Sequence)?.whole.to_vec());
    }
    (value.is_empty() && outer.is_empty()).then_some(found)
}

/// The rest of a sequence of elements in DER.
#[derive(Clone, Copy, Default)]
pub(super) struct Der<'a>(pub(super) &'a [u8]);

/// One of them.
#[derive(Clone, Copy)]
pub(super) struct Element<'a> {
    pub(super) contents: &'a [u8],
    /// With its tag and length.
    whole: &'a [u8],
}

impl<'a> Der<'a> {
    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The next one, if it is of that kind; otherwise it stays where it is.
    pub(super) fn take(&mut self, class: Class, tag: Tag) -> Option<Element<'a>> {
        let (rest, any) = Any::from_der(self.0).ok()?;
        if any.class() != class || any.tag() != tag {
            return None;
        }
        let whole = &self.0[..self.0.len() - rest.len()];
        self.0 = rest;
        Some(Element { contents: any.data, whole })
    }

    pub(super) fn sequence(&mut self) -> Option<Der<'a>> {
        self.take(Class::Universal, Tag::Sequence).map(|element| Der(element.contents))
    }

    /// One whose tag is only a number in its place.
    pub(super) fn tagged(&mut self, number: u32) -> Option<Der<'a>> {
        self.take(Class::ContextSpecific, Tag(number)).map(|element| Der(element.contents))
    }

    fn oid(&mut self) -> Option<Oid<'a>> {
        let whole = self.take(Class::Universal, Tag::Oid)?.whole;
        Oid::from_der(whole).ok().map(|(_, oid)| oid)
    }

    /// RFC 5755 §4.2.6: GeneralizedTime.
    fn time(&mut self) -> Option<Timestamp> {
        let whole = self.take(Class::Universal, Tag::GeneralizedTime)?.whole;
        let (_, time) = ASN1Time::from_der(whole).ok()?;
        facts::timestamp(time).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_one_of_the_vo_and_null_is_nothing() {
        let table = [
            ("/vo", Some("/vo")),
            ("/vo/Role=NULL/Capability=NULL", Some("/vo")),
            ("/vo/sub/Role=production/Capability=NULL", Some("/vo/sub/Role=production")),
            ("/vo/Role=production", Some("/vo/Role=production")),
            ("/vo/Role=x/Capability=y", Some("/vo/Role=x/Capability=y")),
            ("/volume", None),
            ("/other/Role=production", None),
            ("vo", None),
            ("/vo//sub", None),
            ("/vo/", None),
            ("/", None),
            ("", None),
            ("/vo/a\nb", None),
            ("/vo/ä", None),
        ];
        for (text, expected) in table {
            assert_eq!(group(text.as_bytes(), "vo").as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_vo_and_a_host_are_names_that_can_be_those_of_files() {
        let uri = |text: &str| {
            let bytes = [&[0x86, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
            vo_and_host(Der(&bytes))
        };
        let good = Some(("atlas.example".to_owned(), "voms.example.org".to_owned()));
        assert_eq!(uri("atlas.example://VOMS.example.org:15001"), good);
        for bad in [
            "vo://host",
            "vo:host:1",
            "://host:1",
            "vo://:1",
            "../x://host:1",
            "vo/x://host:1",
            "vo://../x:1",
            "vo://host:x",
            "vo://h\0:1",
            ".://host:1",
        ] {
            assert_eq!(uri(bad), None, "{bad}");
        }
    }
}
