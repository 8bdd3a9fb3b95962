//! Properties, and the body of a PROPFIND that names them (RFC 4918 §9.1, §14.20).

use super::xml::{self, DAV, Element, XmlError};

/// The namespace of dCache's properties.
pub const DCACHE: &str = "http://www.dcache.org/2013/webdav";
/// The namespace of the grid's first storage system, whose `mode` davix and gfal ask for.
pub const LCGDM: &str = "LCGDM:";

/// Properties that one request may name.
const MAX_PROPERTIES: usize = 256;

/// A property that the door knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// `collection` for a directory, empty for a file.
    ResourceType,
    /// A file's size.
    ContentLength,
    /// A file's media type.
    ContentType,
    /// A file's entity tag.
    Etag,
    /// The last change.
    LastModified,
    /// When the name appeared.
    CreationDate,
    /// The name.
    DisplayName,
    /// Which locks can be had.
    SupportedLock,
    /// Which locks there are.
    LockDiscovery,
    /// dCache's list of checksums, in the form of `Digest`. Told only when asked for.
    Checksums,
    /// Bytes that the site holds (RFC 4331), of a directory. Told only when asked for.
    QuotaUsed,
    /// Bytes that can still be stored (RFC 4331), of a directory. Told only when asked for.
    QuotaAvailable,
    /// What the client may do, as the mode of a file of POSIX in octal digits. Told only when asked for.
    Mode,
    /// Whose it is (RFC 3744): nobody's, as rights come from the site's policy. Told only when asked for.
    Owner,
    /// Of which group it is (RFC 3744): of none. Told only when asked for.
    Group,
}

impl Known {
    /// What `allprop` means: all but what is told only when asked for.
    pub const ALL: [Known; 9] = [
        Known::ResourceType,
        Known::ContentLength,
        Known::ContentType,
        Known::Etag,
        Known::LastModified,
        Known::CreationDate,
        Known::DisplayName,
        Known::SupportedLock,
        Known::LockDiscovery,
    ];
    /// What is told only when asked for.
    pub const ON_REQUEST: [Known; 6] =
        [Known::Checksums, Known::QuotaUsed, Known::QuotaAvailable, Known::Mode, Known::Owner, Known::Group];

    /// Namespace and local name.
    pub fn name(self) -> (&'static str, &'static str) {
        match self {
            Known::ResourceType => (DAV, "resourcetype"),
            Known::ContentLength => (DAV, "getcontentlength"),
            Known::ContentType => (DAV, "getcontenttype"),
            Known::Etag => (DAV, "getetag"),
            Known::LastModified => (DAV, "getlastmodified"),
            Known::CreationDate => (DAV, "creationdate"),
            Known::DisplayName => (DAV, "displayname"),
            Known::SupportedLock => (DAV, "supportedlock"),
            Known::LockDiscovery => (DAV, "lockdiscovery"),
            Known::Checksums => (DCACHE, "Checksums"),
            Known::QuotaUsed => (DAV, "quota-used-bytes"),
            Known::QuotaAvailable => (DAV, "quota-available-bytes"),
            Known::Mode => (LCGDM, "mode"),
            Known::Owner => (DAV, "owner"),
            Known::Group => (DAV, "group"),
        }
    }

    /// The property of a name.
    pub fn find(namespace: &str, local: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter().chain(Self::ON_REQUEST);
        all.find(|property| property.name() == (namespace, local))
    }
}

/// A property that a client names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Property {
    /// One that the door knows.
    Known(Known),
    /// One that it does not; a client may have set it.
    Other {
        /// Its namespace; empty for none.
        namespace: String,
        /// Its local name.
        local: String,
    },
}

/// What a PROPFIND asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// `allprop`, and what `include` adds.
    All(Vec<Property>),
    /// `propname`: names without values.
    Names,
    /// `prop`: these.
    Some(Vec<Property>),
}

impl Property {
    /// The property that an element names.
    pub fn of(element: &Element) -> Self {
        match Known::find(&element.namespace, &element.local) {
            Some(known) => Property::Known(known),
            None => Property::Other { namespace: element.namespace.clone(), local: element.local.clone() },
        }
    }
}

impl Wanted {
    /// Whether a property that the door knows is among them.
    pub fn has(&self, known: Known) -> bool {
        match self {
            Wanted::All(more) => Known::ALL.contains(&known) || more.contains(&Property::Known(known)),
            Wanted::Names => false,
            Wanted::Some(properties) => properties.contains(&Property::Known(known)),
        }
    }

    /// Whether properties may be among them that clients have set.
    pub fn has_dead(&self) -> bool {
        match self {
            Wanted::All(_) | Wanted::Names => true,
            Wanted::Some(properties) => {
                properties.iter().any(|property| matches!(property, Property::Other { .. }))
            }
        }
    }
}

/// Why a body is no PROPFIND.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PropfindError {
    /// Not XML as it is accepted.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// Something else than a propfind.
    #[error("the body is not a propfind element of namespace DAV: with prop, allprop or propname")]
    NotPropfind,
    /// Too many.
    #[error("the body names more than {MAX_PROPERTIES} properties")]
    TooMany,
}

/// Reads the body. An empty one is `allprop` (RFC 4918 §9.1).
pub fn parse(body: &[u8]) -> Result<Wanted, PropfindError> {
    let Some(root) = xml::parse(body)? else { return Ok(Wanted::All(Vec::new())) };
    if !root.is(DAV, "propfind") {
        return Err(PropfindError::NotPropfind);
    }
    let mut wanted = None;
    let mut included = Vec::new();
    // What is not known here is ignored with all that is in it (§17).
    for element in root.elements().filter(|element| element.namespace == DAV) {
        let mode = match element.local.as_str() {
            "allprop" => Wanted::All(Vec::new()),
            "propname" => Wanted::Names,
            "prop" => Wanted::Some(named(element)?),
            "include" => {
                included.extend(named(element)?);
                continue;
            }
            _ => continue,
        };
        if wanted.replace(mode).is_some() {
            return Err(PropfindError::NotPropfind);
        }
    }
    match wanted {
        Some(Wanted::All(_)) => Ok(Wanted::All(included)),
        Some(wanted) => Ok(wanted),
        None => Err(PropfindError::NotPropfind),
    }
}

fn named(element: &Element) -> Result<Vec<Property>, PropfindError> {
    let mut named: Vec<Property> = Vec::new();
    for property in element.elements().map(Property::of) {
        if named.contains(&property) {
            continue;
        }
        if named.len() == MAX_PROPERTIES {
            return Err(PropfindError::TooMany);
        }
        named.push(property);
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unknown(namespace: &str, local: &str) -> Property {
        Property::Other { namespace: namespace.into(), local: local.into() }
    }

    #[test]
    fn the_three_kinds_of_propfind_are_read() {
        let all = |more| Ok(Wanted::All(more));
        let table = [
            ("", all(vec![])),
            (" \r\n", all(vec![])),
            ("<propfind xmlns='DAV:'><allprop/></propfind>", all(vec![])),
            (
                "<D:propfind xmlns:D='DAV:'><D:allprop/><D:include><x:Checksums xmlns:x='http://www.dcache.org/2013/webdav'/></D:include></D:propfind>",
                all(vec![Property::Known(Known::Checksums)]),
            ),
            ("<?xml version='1.0'?><propfind xmlns='DAV:'><propname/></propfind>", Ok(Wanted::Names)),
            (
                "<?xml version=\"1.0\"?><propfind xmlns=\"DAV:\"><prop><getetag/><d:Checksums xmlns:d=\"http://www.dcache.org/2013/webdav\"/><Checksums/><z xmlns=''/></prop></propfind>",
                Ok(Wanted::Some(vec![
                    Property::Known(Known::Etag),
                    Property::Known(Known::Checksums),
                    unknown("DAV:", "Checksums"),
                    unknown("", "z"),
                ])),
            ),
            (
                "<propfind xmlns='DAV:'><other><prop><getetag/></prop></other><prop><displayname/></prop></propfind>",
                Ok(Wanted::Some(vec![Property::Known(Known::DisplayName)])),
            ),
        ];
        for (body, wanted) in table {
            assert_eq!(parse(body.as_bytes()), wanted, "{body}");
        }
    }

    #[test]
    fn what_is_not_a_propfind_is_refused() {
        let names: String = (0..300).map(|number| format!("<a{number}/>")).collect();
        let many = format!("<propfind xmlns='DAV:'><prop>{names}</prop></propfind>");
        let table = [
            ("<propfind xmlns='DAV:'>", PropfindError::Xml(XmlError::NotXml)),
            ("<propfind xmlns='DAV:'><prop><x:a/></prop></propfind>", PropfindError::Xml(XmlError::NotXml)),
            (
                "<propfind xmlns='DAV:'><prop><x:a xmlns:x=''/></prop></propfind>",
                PropfindError::Xml(XmlError::NotXml),
            ),
            ("<propfind><allprop/></propfind>", PropfindError::NotPropfind),
            ("<propfind xmlns='DAV:'/>", PropfindError::NotPropfind),
            ("<propfind xmlns='DAV:'><prop/><propname/></propfind>", PropfindError::NotPropfind),
            ("<lockinfo xmlns='DAV:'/>", PropfindError::NotPropfind),
            (&many, PropfindError::TooMany),
        ];
        for (body, error) in table {
            assert_eq!(parse(body.as_bytes()), Err(error), "{body}");
        }
    }

    #[test]
    fn what_has_to_be_looked_up_is_known_beforehand() {
        let some =
            |body: &str| parse(format!("<propfind xmlns='DAV:'>{body}</propfind>").as_bytes()).unwrap();
        let table = [
            ("<allprop/>", true, true),
            ("<propname/>", true, false),
            ("<prop><getetag/></prop>", false, false),
            ("<prop><lockdiscovery/></prop>", false, true),
            ("<prop><a xmlns='urn:a'/></prop>", true, false),
        ];
        for (body, dead, locks) in table {
            let wanted = some(body);
            assert_eq!((wanted.has_dead(), wanted.has(Known::LockDiscovery)), (dead, locks), "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn no_markup_makes_the_reader_panic(text in "[<>/!?a-z:'= &;\\[\\]\"-]{0,120}") {
            let _ = parse(format!("<propfind xmlns='DAV:'>{text}").as_bytes());
        }
    }
}
