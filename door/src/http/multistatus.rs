//! Answers of 207: one `response` element for each entry, and what is told of it (RFC 4918 §13).

use jiff::Timestamp;
use quick_xml::escape::escape;

use super::head::http_date;
use super::property::{DCACHE, Known, LCGDM, Property, Wanted};
use super::xml::{DAV, is_allowed};
use crate::auth::{Access, Decision, Operation, decide};
use crate::checksum::digest_list;
use crate::namespace::{DeadProperty, Entry, Lock, NsPath};

/// Before the first entry.
pub const HEAD: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
     <d:multistatus xmlns:d=\"DAV:\" xmlns:c=\"http://www.dcache.org/2013/webdav\" xmlns:l=\"LCGDM:\">\n";
/// After the last.
pub const TAIL: &str = "</d:multistatus>\n";

/// Which locks can be had: those of writing, with others or alone (RFC 4918 §15.10).
const SUPPORTED_LOCKS: &str = "<d:lockentry><d:lockscope><d:exclusive/></d:lockscope><d:locktype><d:write/></d:locktype></d:lockentry>\
     <d:lockentry><d:lockscope><d:shared/></d:lockscope><d:locktype><d:write/></d:locktype></d:lockentry>";

/// What holds for all entries of an answer.
#[derive(Debug, Clone)]
pub struct Circumstances {
    /// Who asks.
    pub access: Access,
    /// The real path of what the client calls "/".
    pub view_root: NsPath,
    /// Of the whole site.
    pub space: Space,
}

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// Held by files.
    pub used: u64,
    /// What can still be stored.
    pub available: u64,
}

/// An entry, and what has been looked up of it.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// What the client calls it.
    pub view_path: &'a NsPath,
    /// What it is.
    pub path: &'a NsPath,
    /// The entry.
    pub entry: &'a Entry,
    /// Its dead properties, where they are wanted.
    pub dead: &'a [DeadProperty],
    /// The locks on it, where they are wanted.
    pub locks: &'a [Lock],
    /// What holds for all.
    pub circumstances: &'a Circumstances,
}

/// Writes one entry of the answer to a PROPFIND.
pub fn write_entry(xml: &mut String, wanted: &Wanted, told: &Told<'_>) {
    xml.push_str("<d:response><d:href>");
    xml.push_str(&href(told.view_path, told.entry));
    xml.push_str("</d:href>");
    match wanted {
        Wanted::Names => {
            let known = Known::ALL.into_iter().chain(Known::ON_REQUEST);
            let known = known.filter(|known| value(*known, told).is_some()).map(Property::Known);
            let dead = told.dead.iter().map(|property| Property::Other {
                namespace: property.namespace.clone(),
                local: property.name.clone(),
            });
            let elements: String = known.chain(dead).map(|property| empty_element(&property)).collect();
            write_propstat(xml, &elements, "200 OK");
        }
        Wanted::All(more) => {
            let mut found = String::new();
            for known in Known::ALL {
                if let Some(value) = value(known, told) {
                    write_known(&mut found, known, &value);
                }
            }
            for property in told.dead {
                found.push_str(&property.xml);
            }
            let more = more.iter().filter(|property| !is_told_with_all(property, told));
            write_properties(xml, found, more, told);
        }
        Wanted::Some(properties) => write_properties(xml, String::new(), properties.iter(), told),
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

/// The element for which a property stands without a value.
pub fn empty_element(property: &Property) -> String {
    match property {
        Property::Known(known) => format!("<{}/>", prefixed(*known)),
        Property::Other { namespace, local } if namespace.is_empty() => format!("<{local} xmlns=\"\"/>"),
        Property::Other { namespace, local } => {
            format!("<x:{local} xmlns:x=\"{}\"/>", escape(namespace.as_str()))
        }
    }
}

/// Properties that share a status.
pub fn write_propstat(xml: &mut String, elements: &str, status: &str) {
    xml.push_str("<d:propstat><d:prop>");
    xml.push_str(elements);
    xml.push_str("</d:prop><d:status>HTTP/1.1 ");
    xml.push_str(status);
    xml.push_str("</d:status></d:propstat>");
}

/// A response of one status for a whole resource.
pub fn write_status(xml: &mut String, href: &str, status: &str, text: &str) {
    xml.push_str(&format!(
        "<d:response><d:href>{href}</d:href><d:status>HTTP/1.1 {status}</d:status>\
         <d:responsedescription>{}</d:responsedescription></d:response>\n",
        self::text(text)
    ));
}

/// Whether `allprop` tells a property of this entry anyway.
fn is_told_with_all(property: &Property, told: &Told<'_>) -> bool {
    match property {
        Property::Known(known) => Known::ALL.contains(known) && value(*known, told).is_some(),
        Property::Other { namespace, local } => dead(told, namespace, local).is_some(),
    }
}

fn dead<'a>(told: &Told<'a>, namespace: &str, local: &str) -> Option<&'a DeadProperty> {
    told.dead.iter().find(|dead| dead.namespace == namespace && dead.name == local)
}

fn write_properties<'a>(
    xml: &mut String,
    mut found: String,
    properties: impl Iterator<Item = &'a Property>,
    told: &Told<'_>,
) {
    let mut missing = String::new();
    for property in properties {
        match property {
            Property::Known(known) => match value(*known, told) {
                Some(value) => write_known(&mut found, *known, &value),
                None => missing.push_str(&empty_element(property)),
            },
            Property::Other { namespace, local } => match dead(told, namespace, local) {
                Some(dead) => found.push_str(&dead.xml),
                None => missing.push_str(&empty_element(property)),
            },
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

fn write_known(xml: &mut String, known: Known, value: &str) {
    let name = prefixed(known);
    xml.push_str(&format!("<{name}>{value}</{name}>"));
}

fn prefixed(known: Known) -> String {
    let (namespace, local) = known.name();
    let prefix = match namespace {
        DCACHE => 'c',
        LCGDM => 'l',
        _ => 'd',
    };
    debug_assert!(prefix != 'd' || namespace == DAV);
    format!("{prefix}:{local}")
}

/// The value as XML; `None` where the entry does not have the property.
fn value(property: Known, told: &Told<'_>) -> Option<String> {
    let Told { entry, view_path, circumstances, .. } = told;
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
        Known::SupportedLock => Some(SUPPORTED_LOCKS.into()),
        Known::LockDiscovery => {
            Some(told.locks.iter().map(|lock| active_lock(lock, &circumstances.view_root)).collect())
        }
        Known::Checksums => {
            let list = digest_list(&file?.checksums);
            (!list.is_empty()).then_some(list)
        }
        // RFC 4331 §3, §4: of collections.
        Known::QuotaUsed => entry.is_directory().then(|| circumstances.space.used.to_string()),
        Known::QuotaAvailable => entry.is_directory().then(|| circumstances.space.available.to_string()),
        Known::Mode => Some(format!("{:o}", mode(told))),
        // RFC 3744 §5.1, §5.2: empty where there is none. davix and gfal ask for both with everything.
        Known::Owner | Known::Group => Some(String::new()),
    }
}

/// What the client may do, as `st_mode` says it: the same bits for all classes, since who is what is the token's to say.
fn mode(told: &Told<'_>) -> u32 {
    const DIRECTORY: u32 = 0o040_000;
    const REGULAR: u32 = 0o100_000;
    let may = |operation| decide(&told.circumstances.access, operation, told.path) == Decision::Allow;
    if told.entry.is_directory() {
        let read = if may(Operation::List) { 0o555 } else { 0 };
        let write = if may(Operation::Upload) { 0o222 } else { 0 };
        DIRECTORY | read | write
    } else {
        let read = if may(Operation::Download) { 0o444 } else { 0 };
        let write = if may(Operation::Overwrite) { 0o222 } else { 0 };
        REGULAR | read | write
    }
}

/// A lock as `lockdiscovery` tells it (RFC 4918 §14.1), with the time that is left of it (§15.8). A token does nothing for anybody but its holder, so it is told.
pub fn active_lock(lock: &Lock, view_root: &NsPath) -> String {
    let scope = if lock.exclusive { "exclusive" } else { "shared" };
    let depth = if lock.deep { "infinity" } else { "0" };
    // What is locked may be above all that the client sees.
    let root = lock.path.below(view_root).unwrap_or_else(NsPath::root).to_url();
    format!(
        "<d:activelock><d:locktype><d:write/></d:locktype><d:lockscope><d:{scope}/></d:lockscope>\
         <d:depth>{depth}</d:depth>{}<d:timeout>Second-{}</d:timeout>\
         <d:locktoken><d:href>{}</d:href></d:locktoken><d:lockroot><d:href>{root}</d:href></d:lockroot></d:activelock>",
        lock.owner,
        lock.seconds_left(Timestamp::now()),
        escape(lock.token.as_str())
    )
}

/// Text fit for XML 1.0, which has no place at all for most control characters (§2.2).
pub fn text(raw: &str) -> String {
    let cleaned: String =
        raw.chars().map(|character| if is_allowed(character) { character } else { '\u{fffd}' }).collect();
    escape(cleaned.as_str()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Anonymous;
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

    fn circumstances() -> Circumstances {
        Circumstances {
            access: Access::Anonymous(Anonymous::Read),
            view_root: NsPath::root(),
            space: Space { used: 5, available: 6 },
        }
    }

    fn written(wanted: &Wanted, path: &str, entry: &Entry) -> String {
        let (mut xml, path) = (String::new(), NsPath::parse(path).unwrap());
        let dead = [DeadProperty {
            namespace: "urn:d".into(),
            name: "dead".into(),
            xml: "<a:dead xmlns:a=\"urn:d\">v</a:dead>".into(),
        }];
        let told = Told {
            view_path: &path,
            path: &path,
            entry,
            dead: &dead,
            locks: &[],
            circumstances: &circumstances(),
        };
        write_entry(&mut xml, wanted, &told);
        xml
    }

    #[test]
    fn allprop_tells_a_file_but_not_what_is_told_only_when_asked_for() {
        let xml = written(&Wanted::All(vec![]), "/a b/<f>&", &file());
        for part in [
            "<d:href>/a%20b/%3Cf%3E%26</d:href>",
            "<d:resourcetype></d:resourcetype>",
            "<d:getcontentlength>7</d:getcontentlength>",
            "<d:getetag>\"abc\"</d:getetag>",
            "<d:getlastmodified>Fri, 02 Jan 2026 03:04:05 GMT</d:getlastmodified>",
            "<d:creationdate>2026-01-02T03:04:05Z</d:creationdate>",
            "<d:displayname>&lt;f&gt;&amp;</d:displayname>",
            "<d:lockdiscovery></d:lockdiscovery>",
            "<a:dead xmlns:a=\"urn:d\">v</a:dead>",
        ] {
            assert!(xml.contains(part), "{part}\n{xml}");
        }
        assert!(!xml.contains("Checksums") && !xml.contains("mode") && !xml.contains("404"), "{xml}");
    }

    #[test]
    fn what_allprop_tells_anyway_is_told_once_though_it_is_included() {
        let dead = Property::Other { namespace: "urn:d".into(), local: "dead".into() };
        let more = vec![Property::Known(Known::Etag), dead, Property::Known(Known::Checksums)];
        let xml = written(&Wanted::All(more), "/f", &file());
        for once in ["<d:getetag>", "<a:dead ", "<c:Checksums>"] {
            assert_eq!(xml.matches(once).count(), 1, "{once}\n{xml}");
        }
        let xml = written(&Wanted::All(vec![Property::Known(Known::Etag)]), "/d", &entry(Kind::Directory));
        assert!(xml.contains("<d:getetag/>") && xml.contains("404"), "asked for, and not there: {xml}");
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
        let other = |namespace: &str, local: &str| Property::Other {
            namespace: namespace.into(),
            local: local.into(),
        };
        let wanted = Wanted::Some(vec![
            Property::Known(Known::Checksums),
            other("urn:\"x\"", "y"),
            other("urn:d", "dead"),
        ]);
        let xml = written(&wanted, "/f", &file());
        assert!(xml.contains(
            "<d:prop><c:Checksums>adler32=03da0195</c:Checksums><a:dead xmlns:a=\"urn:d\">v</a:dead></d:prop><d:status>HTTP/1.1 200 OK"
        ));
        assert!(xml.contains(
            "<d:prop><x:y xmlns:x=\"urn:&quot;x&quot;\"/></d:prop><d:status>HTTP/1.1 404 Not Found"
        ));
    }

    #[test]
    fn the_grid_learns_mode_and_space() {
        let wanted = Wanted::Some(Known::ON_REQUEST.into_iter().map(Property::Known).collect());
        let of_file = written(&wanted, "/f", &file());
        assert!(of_file.contains("<l:mode>100444</l:mode>"), "{of_file}");
        assert!(of_file.contains("<d:quota-used-bytes/>"), "of directories only: {of_file}");
        assert!(of_file.contains("<d:owner></d:owner><d:group></d:group>"), "nobody's: {of_file}");
        let of_directory = written(&wanted, "/d", &entry(Kind::Directory));
        for part in [
            "<l:mode>40555</l:mode>",
            "<d:quota-used-bytes>5</d:quota-used-bytes>",
            "<d:quota-available-bytes>6</d:quota-available-bytes>",
        ] {
            assert!(of_directory.contains(part), "{part}\n{of_directory}");
        }
    }

    #[test]
    fn propname_names_without_values() {
        let xml = written(&Wanted::Names, "/f", &file());
        for part in ["<d:getetag/>", "<c:Checksums/>", "<x:dead xmlns:x=\"urn:d\"/>"] {
            assert!(xml.contains(part), "{part}\n{xml}");
        }
        assert!(!xml.contains("abc"), "{xml}");
    }

    #[test]
    fn control_characters_cannot_break_the_document() {
        let xml = written(&Wanted::All(vec![]), "/a\u{1}b", &file());
        assert!(xml.contains("<d:href>/a%01b</d:href>") && xml.contains("a\u{fffd}b"), "{xml}");
    }

    #[test]
    fn a_lock_is_told_by_the_paths_that_the_client_knows() {
        let lock = Lock {
            token: "urn:uuid:1".into(),
            path: NsPath::parse("/home/paul/a b").unwrap(),
            deep: true,
            exclusive: false,
            owner: "<owner xmlns=\"DAV:\">paul</owner>".into(),
            subject: "paul".into(),
            timeout: std::time::Duration::from_secs(60),
            expires_at: Timestamp::now() + jiff::SignedDuration::from_secs(60),
        };
        let xml = active_lock(&lock, &NsPath::parse("/home/paul").unwrap());
        for part in [
            "<d:shared/>",
            "<d:depth>infinity</d:depth>",
            "<owner xmlns=\"DAV:\">paul</owner>",
            "<d:timeout>Second-60</d:timeout>",
            "<d:locktoken><d:href>urn:uuid:1</d:href></d:locktoken>",
            "<d:lockroot><d:href>/a%20b</d:href></d:lockroot>",
        ] {
            assert!(xml.contains(part), "{part}\n{xml}");
        }
        let above = active_lock(&lock, &NsPath::parse("/home/paul/a b/below").unwrap());
        assert!(above.contains("<d:lockroot><d:href>/</d:href></d:lockroot>"), "{above}");
    }
}
