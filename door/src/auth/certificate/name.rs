//! Distinguished names: compared by what they consist of, shown as grids write them (`/DC=org/DC=example/CN=name`).

use x509_parser::asn1_rs::Tag;
use x509_parser::x509::X509Name;

/// Short names of attributes, as OpenSSL and Globus print them; others appear as their object identifiers.
const SHORT_NAMES: [(&str, &str); 24] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.20", "telephoneNumber"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.65", "pseudonym"),
    ("2.5.4.97", "organizationIdentifier"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// The last part of a proxy's name.
const COMMON_NAME: &str = "2.5.4.3";

/// A distinguished name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name {
    parts: Vec<Part>,
}

/// A relative distinguished name: mostly one attribute.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Part(Vec<Attribute>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Attribute {
    /// The object identifier in dots.
    kind: String,
    /// In UTF-8 where the certificate tells its characters, else as it stands there: so that the same text in two of
    /// ASN.1's kinds of strings is the same name (RFC 5280 §7.1).
    value: Vec<u8>,
}

impl Name {
    /// A name as it stands in a certificate.
    pub fn new(name: &X509Name<'_>) -> Self {
        let attribute = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| Attribute {
            kind: attribute.attr_type().to_id_string(),
            value: match attribute.attr_value().tag() {
                Tag::BmpString => utf8_of_utf16(attribute.as_slice()),
                _ => attribute.as_slice().to_vec(),
            },
        };
        Self { parts: name.iter_rdn().map(|part| Part(part.iter().map(attribute).collect())).collect() }
    }

    /// Without any part.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether it lies below another name, or is the same: as directoryName constraints are meant (RFC 5280 §4.2.1.10).
    pub fn is_within(&self, other: &Name) -> bool {
        self.parts.starts_with(&other.parts)
    }

    /// What this name has behind another's, when that is one common name and no more: as proxies are named
    /// (RFC 3820 §3.4).
    pub fn common_name_below(&self, issuer: &Name) -> Option<&[u8]> {
        let (Part(last), before) = self.parts.split_last()?;
        match last.as_slice() {
            [only] if before == issuer.parts && only.kind == COMMON_NAME => Some(&only.value),
            _ => None,
        }
    }

    /// Values of an attribute, in order.
    pub fn values<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let attributes = self.parts.iter().flat_map(|part| &part.0);
        attributes.filter(move |attribute| attribute.kind == kind).map(|attribute| attribute.value.as_slice())
    }

    /// Whether the text could be that of another name, too: grids write a name with slashes between its parts, and do
    /// not mark those within. `/CN=host/www.example.org` is usual and harmless; `/CN=me/CN=root` within one part is
    /// not.
    pub fn is_ambiguous(&self) -> bool {
        let mut values = self.parts.iter().flat_map(|part| &part.0).map(|attribute| &attribute.value);
        values.any(|value| value.split(|byte| *byte == b'/').skip(1).any(|piece| piece.contains(&b'=')))
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.parts.is_empty() {
            return f.write_str("/");
        }
        for attribute in self.parts.iter().flat_map(|part| &part.0) {
            let short = SHORT_NAMES.iter().find(|(kind, _)| *kind == attribute.kind);
            write!(f, "/{}=", short.map_or(attribute.kind.as_str(), |(_, short)| short))?;
            // As OpenSSL: nothing gets into a log, a header or a policy that is not visible ASCII.
            for byte in &attribute.value {
                match byte {
                    b' '..=b'~' => write!(f, "{}", char::from(*byte))?,
                    _ => write!(f, "\\x{byte:02X}")?,
                }
            }
        }
        Ok(())
    }
}

fn utf8_of_utf16(bytes: &[u8]) -> Vec<u8> {
    let units = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    char::decode_utf16(units)
        .map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect::<String>()
        .into_bytes()
}

/// One way to write the attributes of a name in text: policies, and people, write some of them in several.
pub fn canonical(text: &str) -> String {
    const SAME: [(&str, &str); 5] = [
        ("/Email=", "/emailAddress="),
        ("/E=", "/emailAddress="),
        ("/EMAILADDRESS=", "/emailAddress="),
        ("/USERID=", "/UID="),
        ("/S=", "/ST="),
    ];
    SAME.iter().fold(text.to_owned(), |text, (other, ours)| text.replace(other, ours))
}

#[cfg(test)]
mod tests {
    use rcgen::{DistinguishedName, DnType, DnValue};
    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;

    fn name(parts: &[(DnType, DnValue)]) -> Name {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let parsed = X509Certificate::from_der(certificate.der()).unwrap().1;
        Name::new(parsed.subject())
    }

    fn text(value: &str) -> DnValue {
        DnValue::Utf8String(value.to_owned())
    }

    #[test]
    fn a_name_is_written_as_grids_do() {
        let name = name(&[
            (DnType::CountryName, text("DE")),
            (DnType::OrganizationName, text("Grid\nGermany")),
            (DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 25]), text("example")),
            (DnType::CommonName, text("Zoë")),
        ]);
        assert_eq!(name.to_string(), "/C=DE/O=Grid\\x0AGermany/DC=example/CN=Zo\\xC3\\xAB");
    }

    #[test]
    fn the_same_text_in_another_kind_of_string_is_the_same_name() {
        let one = name(&[(DnType::CommonName, text("paul"))]);
        let printable = DnValue::PrintableString("paul".try_into().unwrap());
        let bmp = DnValue::BmpString("paul".try_into().unwrap());
        assert_eq!(one, name(&[(DnType::CommonName, printable)]));
        assert_eq!(one, name(&[(DnType::CommonName, bmp)]));
        assert_ne!(one, name(&[(DnType::CommonName, text("Paul"))]));
        assert_ne!(one, name(&[(DnType::OrganizationName, text("paul"))]));
    }

    #[test]
    fn what_looks_like_another_name_is_noticed() {
        for (value, ambiguous) in
            [("host/www.example.org", false), ("a=b", false), ("me/CN=root", true), ("x/2.5.4.3=root", true)]
        {
            assert_eq!(name(&[(DnType::CommonName, text(value))]).is_ambiguous(), ambiguous, "{value}");
        }
    }

    #[test]
    fn attributes_that_are_written_in_several_ways_get_one() {
        assert_eq!(canonical("/C=X/Email=a@b/USERID=u"), "/C=X/emailAddress=a@b/UID=u");
        assert_eq!(canonical("/C=X/E=a@b"), canonical("/C=X/emailAddress=a@b"));
    }
}
