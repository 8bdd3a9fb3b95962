//! The answer to a PROPFIND: one `response` element for each entry (RFC 4918 §13).

use quick_xml::escape::escape;

use super::head::http_date;
use super::property::{DAV, DCACHE, Known, Property, Wanted};
use crate::checksum::digest_list;
use crate::namespace::{Entry, NsPath};

/// Before the first entry.
pub const HEAD: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
     <d:multistatus xmlns:d=\"DAV:\" xmlns:c=\"http://www.dcache.org/2013/webdav\">\n";
/// After the last.
pub const TAIL: &str = "</d:multistatus>\n";

/// Writes one entry. `view_path` is what the client calls it.
pub fn write_entry(xml: &mut String, wanted: &Wanted, view_path: &NsPath, entry: &Entry) {
    xml.push_str("<d:response><d:href>");
    xml.push_str(&href(view_path, entry));
    xml.push_str("</d:href>");
    match wanted {
        Wanted::Names => {
            let names = Known::ALL.into_iter().chain([Known::Checksums]);
            let known = names.filter(|known| value(*known, view_path, entry).is_some());
            let elements: String = known.map(|known| empty_element(&Property::Known(known))).collect();
            write_propstat(xml, &elements, "200 OK");
        }
        Wanted::All(more) => {
            let all: Vec<_> = Known::ALL
                .into_iter()
                .filter(|known| value(*known, view_path, entry).is_some())
                .map(Property::Known)
                .chain(more.iter().cloned())
                .collect();
            write_properties(xml, &all, view_path, entry);
        }
        Wanted::Some(properties) => write_properties(xml, properties, view_path, entry),
    }
    xml.push_str("</d:response>\n");
}

/// The URL path of an entry, already fit for XML. A directory's ends with a slash (RFC 4918 §5.2).
pub fn href(view_path: &NsPath, entry: &Entry) -> String {
    let mut href = view_path.to_url();
    if entry.is_directory() && !view_path.is_root() {
        href.push('/');
    }
    href
}

fn write_properties(xml: &mut String, properties: &[Property], view_path: &NsPath, entry: &Entry) {
    let mut found = String::new();
    let mut missing = String::new();
    for property in properties {
        let known = match property {
            Property::Known(known) => value(*known, view_path, entry).map(|value| (known, value)),
            Property::Unknown { .. } => None,
        };
        match known {
            Some((known, value)) => {
                let name = prefixed(*known);
                found.push_str(&format!("<{name}>{value}</{name}>"));
            }
            None => missing.push_str(&empty_element(property)),
        }
    }
    // An entry without any propstat would not be valid.
    if !found.is_empty() || missing.is_empty() {
        write_propstat(xml, &found, "200 OK");
    }
    if !missing.is_empty() {
        write_propstat(xml, &missing, "404 Not Found");
    }
}

fn write_propstat(xml: &mut String, elements: &str, status: &str) {
    xml.push_str("<d:propstat><d:prop>");
    xml.push_str(elements);
    xml.push_str("</d:prop><d:status>HTTP/1.1 ");
    xml.push_str(status);
    xml.push_str("</d:status></d:propstat>");
}

fn prefixed(known: Known) -> String {
    let (namespace, local) = known.name();
    debug_assert!(namespace == DAV || namespace == DCACHE);
    format!("{}:{local}", if namespace == DAV { 'd' } else { 'c' })
}

fn empty_element(property: &Property) -> String {
    match property {
        Property::Known(known) => format!("<{}/>", prefixed(*known)),
        Property::Unknown { namespace, local } if namespace.is_empty() => format!("<{local} xmlns=\"\"/>"),
        Property::Unknown { namespace, local } => {
            format!("<x:{local} xmlns:x=\"{}\"/>", escape(namespace.as_str()))
        }
    }
}

/// The value as XML; `None` where the entry does not have the property.
fn value(property: Known, view_path: &NsPath, entry: &Entry) -> Option<String> {
    let file = entry.file();
    match property {
        Known::ResourceType if entry.is_directory() => Some("<d:collection/>".into()),
        Known::ResourceType => Some(String::new()),
        Known::ContentLength => Some(file?.size.to_string()),
        Known::ContentType => file.map(|_| "application/octet-stream".into()),
        Known::Etag => Some(format!("\"{}\"", escape(file?.etag()))),
        Known::LastModified => Some(http_date(entry.modified_at)),
        // RFC 4918 §15.1: RFC 3339 form.
        Known::CreationDate => Some(entry.created_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        Known::DisplayName => Some(text(view_path.name().unwrap_or("/"))),
        Known::Checksums => {
            let list = digest_list(&file?.checksums);
            (!list.is_empty()).then_some(list)
        }
    }
}

/// Text fit for XML 1.0, which has no place at all for most control characters (§2.2).
fn text(raw: &str) -> String {
    let allowed = |character: char| {
        matches!(character, '\t' | '\n' | '\r')
            || (character >= ' ' && !matches!(character, '\u{fffe}' | '\u{ffff}'))
    };
    let cleaned: String =
        raw.chars().map(|character| if allowed(character) { character } else { '\u{fffd}' }).collect();
    escape(cleaned.as_str()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::{Algorithm, Checksum};
    use crate::namespace::{FileEntry, Kind};

    fn entry(kind: Kind) -> Entry {
        let at = "2026-01-02T03:04:05.678Z".parse().unwrap();
        Entry { id: 2, name: "ignored".into(), kind, created_at: at, modified_at: at }
    }

    fn file() -> Entry {
        let adler = Checksum::new(Algorithm::Adler32, vec![3, 0xda, 1, 0x95]).unwrap();
        entry(Kind::File(FileEntry {
            replica: "abc".into(),
            pool: "p".into(),
            size: 7,
            checksums: vec![adler],
        }))
    }

    fn written(wanted: &Wanted, path: &str, entry: &Entry) -> String {
        let mut xml = String::new();
        write_entry(&mut xml, wanted, &NsPath::parse(path).unwrap(), entry);
        xml
    }

    #[test]
    fn allprop_tells_a_file_but_not_its_checksums() {
        let xml = written(&Wanted::All(vec![]), "/a b/<f>&", &file());
        for part in [
            "<d:href>/a%20b/%3Cf%3E%26</d:href>",
            "<d:resourcetype></d:resourcetype>",
            "<d:getcontentlength>7</d:getcontentlength>",
            "<d:getetag>\"abc\"</d:getetag>",
            "<d:getlastmodified>Fri, 02 Jan 2026 03:04:05 GMT</d:getlastmodified>",
            "<d:creationdate>2026-01-02T03:04:05Z</d:creationdate>",
            "<d:displayname>&lt;f&gt;&amp;</d:displayname>",
        ] {
            assert!(xml.contains(part), "{part}\n{xml}");
        }
        assert!(!xml.contains("Checksums") && !xml.contains("404"), "{xml}");
    }

    #[test]
    fn a_directory_has_a_slash_and_no_length() {
        let xml = written(&Wanted::All(vec![]), "/d", &entry(Kind::Directory));
        assert!(xml.contains("<d:href>/d/</d:href>") && xml.contains("<d:collection/>"), "{xml}");
        assert!(!xml.contains("getcontentlength") && !xml.contains("getetag"), "{xml}");
        assert!(written(&Wanted::Names, "/", &entry(Kind::Directory)).contains("<d:href>/</d:href>"));
    }

    #[test]
    fn what_is_asked_for_is_told_and_what_is_missing_is_named() {
        let unknown = Property::Unknown { namespace: "urn:\"x\"".into(), local: "y".into() };
        let wanted = Wanted::Some(vec![Property::Known(Known::Checksums), unknown]);
        let xml = written(&wanted, "/f", &file());
        assert!(xml.contains(
            "<d:prop><c:Checksums>adler32=03da0195</c:Checksums></d:prop><d:status>HTTP/1.1 200 OK"
        ));
        assert!(xml.contains(
            "<d:prop><x:y xmlns:x=\"urn:&quot;x&quot;\"/></d:prop><d:status>HTTP/1.1 404 Not Found"
        ));
    }

    #[test]
    fn propname_names_without_values() {
        let xml = written(&Wanted::Names, "/f", &file());
        assert!(
            xml.contains("<d:getetag/>") && xml.contains("<c:Checksums/>") && !xml.contains("abc"),
            "{xml}"
        );
    }

    #[test]
    fn control_characters_cannot_break_the_document() {
        let xml = written(&Wanted::All(vec![]), "/a\u{1}b", &file());
        assert!(xml.contains("<d:href>/a%01b</d:href>") && xml.contains("a\u{fffd}b"), "{xml}");
    }
}
