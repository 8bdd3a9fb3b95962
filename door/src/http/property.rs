//! Properties, and the body of a PROPFIND that names them (RFC 4918 §9.1, §14.20).

use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

/// The namespace of WebDAV itself.
pub const DAV: &str = "DAV:";
/// The namespace of dCache's properties.
pub const DCACHE: &str = "http://www.dcache.org/2013/webdav";

/// Elements inside elements that are looked at.
const MAX_DEPTH: usize = 32;
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
    /// dCache's list of checksums, in the form of `Digest`. Told only when asked for.
    Checksums,
}

impl Known {
    /// What `allprop` means: all but what is told only when asked for.
    pub const ALL: [Known; 7] = [
        Known::ResourceType,
        Known::ContentLength,
        Known::ContentType,
        Known::Etag,
        Known::LastModified,
        Known::CreationDate,
        Known::DisplayName,
    ];

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
            Known::Checksums => (DCACHE, "Checksums"),
        }
    }

    fn find(namespace: &str, local: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter().chain([Known::Checksums]);
        all.find(|property| property.name() == (namespace, local))
    }
}

/// A property that a client names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Property {
    /// One that the door knows.
    Known(Known),
    /// One that it does not.
    Unknown {
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

/// Why a body is no PROPFIND.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PropfindError {
    /// Not well formed.
    #[error("the body is not well-formed XML")]
    NotXml,
    /// A document type, which could define entities.
    #[error("the body has a DOCTYPE, which is not accepted")]
    DocType,
    /// Something else than a propfind.
    #[error("the body is not a propfind element of namespace DAV: with prop, allprop or propname")]
    NotPropfind,
    /// Too deep.
    #[error("the body nests more than {MAX_DEPTH} elements")]
    TooDeep,
    /// Too many.
    #[error("the body names more than {MAX_PROPERTIES} properties")]
    TooMany,
}

/// Reads the body. An empty one is `allprop` (RFC 4918 §9.1).
pub fn parse(body: &[u8]) -> Result<Wanted, PropfindError> {
    if body.trim_ascii().is_empty() {
        return Ok(Wanted::All(Vec::new()));
    }
    let body = std::str::from_utf8(body).map_err(|_| PropfindError::NotXml)?;
    let mut reader = NsReader::from_str(body);
    reader.config_mut().expand_empty_elements = true;
    let mut path: Vec<Step> = Vec::new();
    let mut wanted = None;
    let mut properties = Vec::new();
    let mut ended = false;
    loop {
        let (namespace, event) = reader.read_resolved_event().map_err(|_| PropfindError::NotXml)?;
        match event {
            Event::Start(element) => {
                if ended {
                    return Err(PropfindError::NotXml);
                }
                if path.len() == MAX_DEPTH {
                    return Err(PropfindError::TooDeep);
                }
                let (namespace, local) = names(&namespace, &element)?;
                let step = Step::of(&path, &namespace, &local);
                match step {
                    Step::Property if properties.len() == MAX_PROPERTIES => {
                        return Err(PropfindError::TooMany);
                    }
                    Step::Property => properties.push(match Known::find(&namespace, &local) {
                        Some(known) => Property::Known(known),
                        None => Property::Unknown { namespace, local },
                    }),
                    Step::Mode(mode) if wanted.is_some_and(|before| before != mode) => {
                        return Err(PropfindError::NotPropfind);
                    }
                    Step::Mode(mode) => wanted = Some(mode),
                    Step::Other if path.is_empty() => return Err(PropfindError::NotPropfind),
                    Step::Propfind | Step::Include | Step::Other => {}
                }
                path.push(step);
            }
            Event::End(_) => {
                path.pop();
                ended = path.is_empty();
            }
            Event::DocType(_) => return Err(PropfindError::DocType),
            Event::Eof if ended => break,
            Event::Eof => return Err(PropfindError::NotXml),
            _ => {}
        }
    }
    match wanted {
        Some(Mode::All) => Ok(Wanted::All(properties)),
        Some(Mode::Names) => Ok(Wanted::Names),
        Some(Mode::Some) => Ok(Wanted::Some(properties)),
        None => Err(PropfindError::NotPropfind),
    }
}

/// Where in the document the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Propfind,
    Mode(Mode),
    Include,
    Property,
    /// Ignored with all that is in it (RFC 4918 §17).
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    All,
    Names,
    Some,
}

impl Step {
    fn of(path: &[Step], namespace: &str, local: &str) -> Self {
        let dav = namespace == DAV;
        match path.last() {
            None if dav && local == "propfind" => Step::Propfind,
            Some(Step::Propfind) if dav => match local {
                "allprop" => Step::Mode(Mode::All),
                "propname" => Step::Mode(Mode::Names),
                "prop" => Step::Mode(Mode::Some),
                "include" => Step::Include,
                _ => Step::Other,
            },
            Some(Step::Mode(Mode::Some) | Step::Include) => Step::Property,
            _ => Step::Other,
        }
    }
}

fn names(namespace: &ResolveResult<'_>, element: &BytesStart<'_>) -> Result<(String, String), PropfindError> {
    let namespace = match namespace {
        ResolveResult::Bound(namespace) => text(namespace.as_ref())?,
        ResolveResult::Unbound => String::new(),
        ResolveResult::Unknown(_) => return Err(PropfindError::NotXml),
    };
    let local = text(element.local_name().as_ref())?;
    // The name is written into the answer: let through nothing that could be markup there.
    let sound = local
        .chars()
        .all(|character| character.is_alphanumeric() || matches!(character, '-' | '_' | '.' | '\u{b7}'));
    if sound && !local.is_empty() { Ok((namespace, local)) } else { Err(PropfindError::NotXml) }
}

fn text(bytes: impl AsRef<[u8]>) -> Result<String, PropfindError> {
    String::from_utf8(bytes.as_ref().to_vec()).map_err(|_| PropfindError::NotXml)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unknown(namespace: &str, local: &str) -> Property {
        Property::Unknown { namespace: namespace.into(), local: local.into() }
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
        let deep = format!("<propfind xmlns='DAV:'>{}", "<a>".repeat(40));
        let many = format!("<propfind xmlns='DAV:'><prop>{}</prop></propfind>", "<a/>".repeat(300));
        let table = [
            ("<propfind xmlns='DAV:'>", PropfindError::NotXml),
            ("<propfind xmlns='DAV:'><prop></propfind>", PropfindError::NotXml),
            ("<propfind xmlns='DAV:'><prop><x:a/></prop></propfind>", PropfindError::NotXml),
            ("<propfind xmlns='DAV:'><propname/></propfind><more/>", PropfindError::NotXml),
            ("just text", PropfindError::NotXml),
            ("<propfind><allprop/></propfind>", PropfindError::NotPropfind),
            ("<propfind xmlns='DAV:'/>", PropfindError::NotPropfind),
            ("<propfind xmlns='DAV:'><prop/><propname/></propfind>", PropfindError::NotPropfind),
            ("<lockinfo xmlns='DAV:'/>", PropfindError::NotPropfind),
            (
                "<!DOCTYPE x [<!ENTITY a 'b'>]><propfind xmlns='DAV:'><allprop/></propfind>",
                PropfindError::DocType,
            ),
            (&deep, PropfindError::TooDeep),
            (&many, PropfindError::TooMany),
        ];
        for (body, error) in table {
            assert_eq!(parse(body.as_bytes()), Err(error), "{body}");
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
