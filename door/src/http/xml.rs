//! The XML of requests as a small tree, and elements of it written again so that they can stand anywhere.
//!
//! Bodies are short (see `limits.xml_bytes`), and so is what they may do: no document type, hence no entities but the
//! five of XML itself; bounded depth, number of elements and of namespaces. What is kept of a body (dead properties,
//! owners of locks) is written from the tree, never copied, so that nothing ill-formed comes back out.

use std::sync::Arc;

use quick_xml::XmlVersion;
use quick_xml::escape::{escape, resolve_predefined_entity};
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

/// The namespace of WebDAV itself.
pub const DAV: &str = "DAV:";
/// The namespace that the prefix `xml` always has.
const XML: &str = "http://www.w3.org/XML/1998/namespace";
/// The namespace of declarations themselves.
const XMLNS: &str = "http://www.w3.org/2000/xmlns/";

/// Elements inside elements.
const MAX_DEPTH: usize = 32;
/// Elements of a document.
const MAX_ELEMENTS: usize = 2048;
/// Namespaces that are declared at one place.
const MAX_NAMESPACES: usize = 64;

/// Why a body cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// Not well formed, or not with regard to namespaces.
    #[error("the body is not well-formed XML")]
    NotXml,
    /// A document type, which could define entities.
    #[error("the body has a DOCTYPE, which is not accepted")]
    DocType,
    /// Too deep.
    #[error("the body nests more than {MAX_DEPTH} elements")]
    TooDeep,
    /// Too many.
    #[error("the body has more than {MAX_ELEMENTS} elements or {MAX_NAMESPACES} namespaces")]
    TooMany,
}

/// Prefix and namespace; the prefix is empty for the default one.
type Binding = (String, String);

/// An element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Its namespace; empty for none.
    pub namespace: String,
    /// Its local name.
    pub local: String,
    /// What is in it.
    pub children: Vec<Node>,
    prefix: String,
    /// Names as they were written; without declarations.
    attributes: Vec<(String, String)>,
    /// The declarations that are its own.
    declares: Vec<Binding>,
    /// All that hold in it, the innermost last.
    scope: Arc<[Binding]>,
    /// The language that it inherits or names (`xml:lang`).
    language: Option<Arc<str>>,
}

/// What is in an element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// An element.
    Element(Element),
    /// Characters, as they are meant.
    Text(String),
}

impl Element {
    /// Whether it has this name.
    pub fn is(&self, namespace: &str, local: &str) -> bool {
        self.namespace == namespace && self.local == local
    }

    /// The elements in it.
    pub fn elements(&self) -> impl Iterator<Item = &Element> {
        self.children.iter().filter_map(|child| match child {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    /// The first element in it with a name of WebDAV.
    pub fn dav(&self, local: &str) -> Option<&Element> {
        self.elements().find(|element| element.is(DAV, local))
    }

    /// The element by itself: with every declaration that holds where it stood, since its text, too, may use prefixes
    /// (RFC 4918 §4.3), and with its language.
    pub fn standalone(&self) -> String {
        let mut bindings: Vec<&Binding> = Vec::new();
        for binding in self.scope.iter().rev() {
            if !bindings.iter().any(|(prefix, _)| *prefix == binding.0) {
                bindings.push(binding);
            }
        }
        let mut xml = String::new();
        let language =
            self.language.as_deref().filter(|_| !self.attributes.iter().any(|(name, _)| name == "xml:lang"));
        self.write(&mut xml, bindings.into_iter(), language);
        xml
    }

    fn write<'a>(
        &'a self,
        xml: &mut String,
        declarations: impl Iterator<Item = &'a Binding>,
        language: Option<&str>,
    ) {
        let name = match self.prefix.as_str() {
            "" => self.local.clone(),
            prefix => format!("{prefix}:{}", self.local),
        };
        xml.push('<');
        xml.push_str(&name);
        for (prefix, namespace) in declarations {
            let colon = if prefix.is_empty() { "" } else { ":" };
            write_attribute(xml, &format!("xmlns{colon}{prefix}"), namespace);
        }
        if let Some(language) = language {
            write_attribute(xml, "xml:lang", language);
        }
        for (name, value) in &self.attributes {
            write_attribute(xml, name, value);
        }
        if self.children.is_empty() {
            xml.push_str("/>");
            return;
        }
        xml.push('>');
        for child in &self.children {
            match child {
                Node::Element(element) => element.write(xml, element.declares.iter(), None),
                Node::Text(text) => xml.push_str(&escape(text.as_str())),
            }
        }
        xml.push_str("</");
        xml.push_str(&name);
        xml.push('>');
    }
}

fn write_attribute(xml: &mut String, name: &str, value: &str) {
    xml.push(' ');
    xml.push_str(name);
    xml.push_str("=\"");
    // A tab or line end would be read back as a space.
    let value = escape(value).replace('\t', "&#9;").replace('\n', "&#10;").replace('\r', "&#13;");
    xml.push_str(&value);
    xml.push('"');
}

/// Reads a document. `None` for an empty body.
pub fn parse(body: &[u8]) -> Result<Option<Element>, XmlError> {
    // RFC 4918 §8.2 wants UTF-16 as well, which no client has been seen to send.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    let body = std::str::from_utf8(body).map_err(|_| XmlError::NotXml)?;
    let mut reader = Reader::from_str(body);
    reader.config_mut().expand_empty_elements = true;
    reader.config_mut().check_comments = true;
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    let mut count = 0;
    loop {
        match reader.read_event().map_err(|_| XmlError::NotXml)? {
            Event::Start(start) => {
                count += 1;
                if open.len() == MAX_DEPTH {
                    return Err(XmlError::TooDeep);
                }
                if count > MAX_ELEMENTS {
                    return Err(XmlError::TooMany);
                }
                if root.is_some() {
                    return Err(XmlError::NotXml);
                }
                let element = element(&start, open.last())?;
                open.push(element);
            }
            Event::End(_) => {
                // The reader has seen to it that it ends the element that is open.
                let element = open.pop().ok_or(XmlError::NotXml)?;
                match open.last_mut() {
                    Some(parent) => parent.children.push(Node::Element(element)),
                    None => root = Some(element),
                }
            }
            Event::Text(text) => add_text(open.last_mut(), &text.xml10_content())?,
            Event::CData(text) => match open.last_mut() {
                Some(parent) => add_text(Some(parent), &text.xml10_content())?,
                None => return Err(XmlError::NotXml),
            },
            Event::GeneralRef(reference) => {
                let parent = open.last_mut().ok_or(XmlError::NotXml)?;
                match reference.resolve_char_ref().map_err(|_| XmlError::NotXml)? {
                    Some(character) => add_text(Some(parent), character.encode_utf8(&mut [0; 4]))?,
                    None => {
                        let text = resolve_predefined_entity(&reference).ok_or(XmlError::NotXml)?;
                        add_text(Some(parent), text)?;
                    }
                }
            }
            Event::DocType(_) => return Err(XmlError::DocType),
            Event::Eof if open.is_empty() => return root.map(Some).ok_or(XmlError::NotXml),
            Event::Eof => return Err(XmlError::NotXml),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            // The reader expands them.
            Event::Empty(_) => return Err(XmlError::NotXml),
        }
    }
}

fn add_text(parent: Option<&mut Element>, text: &str) -> Result<(), XmlError> {
    let Some(parent) = parent else {
        return if text.trim_ascii().is_empty() { Ok(()) } else { Err(XmlError::NotXml) };
    };
    if !text.chars().all(is_allowed) {
        return Err(XmlError::NotXml);
    }
    match parent.children.last_mut() {
        Some(Node::Text(before)) => before.push_str(text),
        _ => parent.children.push(Node::Text(text.to_owned())),
    }
    Ok(())
}

fn element(start: &BytesStart<'_>, parent: Option<&Element>) -> Result<Element, XmlError> {
    let mut declares: Vec<Binding> = Vec::new();
    let mut attributes: Vec<(String, String)> = Vec::new();
    let mut language = parent.and_then(|parent| parent.language.clone());
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|_| XmlError::NotXml)?;
        if attribute.value.contains('<') {
            return Err(XmlError::NotXml);
        }
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|_| XmlError::NotXml)?;
        if !value.chars().all(is_allowed) {
            return Err(XmlError::NotXml);
        }
        let name = attribute.key.0;
        match name.split_once(':') {
            None if name == "xmlns" => declares.push((String::new(), value.into_owned())),
            Some(("xmlns", prefix)) => declares.push((prefix.to_owned(), value.into_owned())),
            _ => {
                if name == "xml:lang" {
                    language = Some(Arc::from(&*value));
                }
                attributes.push((name.to_owned(), value.into_owned()));
            }
        }
    }
    for (prefix, namespace) in &declares {
        // Namespaces in XML 1.0 §3: the two fixed ones are nobody else's, and no prefix can be undeclared.
        let fixed = prefix == "xmlns" || namespace == XMLNS || (prefix == "xml") != (namespace == XML);
        let undeclared = !prefix.is_empty() && namespace.is_empty();
        if fixed || undeclared || (!prefix.is_empty() && !is_name(prefix)) {
            return Err(XmlError::NotXml);
        }
    }
    let outer: Arc<[Binding]> = parent.map_or_else(|| Arc::from([]), |parent| Arc::clone(&parent.scope));
    let scope: Arc<[Binding]> =
        if declares.is_empty() { outer } else { outer.iter().chain(&declares).cloned().collect() };
    if scope.len() > MAX_NAMESPACES {
        return Err(XmlError::TooMany);
    }
    for (name, _) in &attributes {
        let known = match name.split_once(':') {
            None => is_name(name),
            Some((prefix, local)) => is_name(local) && lookup(&scope, prefix).is_some(),
        };
        if !known {
            return Err(XmlError::NotXml);
        }
    }
    let name = start.name();
    let (prefix, local) = name.0.split_once(':').unwrap_or(("", name.0));
    let namespace = match prefix {
        "" => lookup(&scope, "").unwrap_or_default(),
        prefix => lookup(&scope, prefix).ok_or(XmlError::NotXml)?,
    };
    if !is_name(local) {
        return Err(XmlError::NotXml);
    }
    Ok(Element {
        namespace: namespace.to_owned(),
        local: local.to_owned(),
        children: Vec::new(),
        prefix: prefix.to_owned(),
        attributes,
        declares,
        scope,
        language,
    })
}

fn lookup<'a>(scope: &'a [Binding], prefix: &str) -> Option<&'a str> {
    if prefix == "xml" {
        return Some(XML);
    }
    scope.iter().rev().find(|(known, _)| known == prefix).map(|(_, namespace)| namespace.as_str())
}

/// A name without colon. Stricter than XML (Namespaces in XML 1.0 §3, XML 1.0 §2.3) in characters that nobody uses.
fn is_name(text: &str) -> bool {
    let may_begin = |character: char| character.is_alphabetic() || character == '_';
    let may_follow =
        |character: char| character.is_alphanumeric() || matches!(character, '-' | '_' | '.' | '\u{b7}');
    text.starts_with(may_begin) && text.chars().all(may_follow)
}

/// XML 1.0 §2.2.
pub fn is_allowed(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r')
        || (character >= ' ' && !matches!(character, '\u{fffe}' | '\u{ffff}'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn root(text: &str) -> Element {
        parse(text.as_bytes()).unwrap().unwrap()
    }

    fn error(text: &str) -> XmlError {
        parse(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn names_have_their_namespaces_and_text_is_what_it_means() {
        let root = root(
            "<?xml version='1.0'?><!-- c --><a:x xmlns:a='urn:a' xmlns='urn:d'><y a:k='1'>&lt;&#65;<![CDATA[<&]]></y><z xmlns=''/></a:x>\n",
        );
        assert!(root.is("urn:a", "x"));
        let names: Vec<_> = root.elements().map(|e| (e.namespace.as_str(), e.local.as_str())).collect();
        assert_eq!(names, [("urn:d", "y"), ("", "z")]);
        assert_eq!(root.elements().next().unwrap().children, [Node::Text("<A<&".into())]);
    }

    #[test]
    fn an_element_by_itself_keeps_its_declarations_its_language_and_its_meaning() {
        let root = root(
            "<p:set xmlns:p='DAV:' xmlns:q='urn:\"q\"' xml:lang='de'><p:prop><q:v k='a&amp;\"'>q:name <w xmlns='urn:w'/>&amp;</q:v></p:prop></p:set>",
        );
        let value = root.dav("prop").unwrap().elements().next().unwrap();
        let alone = value.standalone();
        assert_eq!(
            alone,
            "<q:v xmlns:q=\"urn:&quot;q&quot;\" xmlns:p=\"DAV:\" xml:lang=\"de\" k=\"a&amp;&quot;\">q:name <w xmlns=\"urn:w\"/>&amp;</q:v>"
        );
        let again = self::root(&alone);
        assert_eq!((again.namespace.as_str(), &again.children.len()), ("urn:\"q\"", &value.children.len()));
        assert_eq!(
            again.standalone(),
            alone.replace(
                "xmlns:q=\"urn:&quot;q&quot;\" xmlns:p=\"DAV:\" xml:lang=\"de\" k=",
                "xmlns:p=\"DAV:\" xmlns:q=\"urn:&quot;q&quot;\" xml:lang=\"de\" k="
            )
        );
    }

    #[test]
    fn what_is_ill_formed_is_refused() {
        for text in [
            "<a>",
            "<a></b>",
            "</a>",
            "<a/><b/>",
            "text",
            "<a/>text",
            "<x:a/>",
            "<a x:k='1'/>",
            "<a k='1' k='2'/>",
            "<a k='<'/>",
            "<a k=1/>",
            "<a>&nbsp;</a>",
            "<a>&#1;</a>",
            "<a>\u{1}</a>",
            "<a xmlns:b=''/>",
            "<a xmlns:xmlns='urn:x'/>",
            "<a xmlns:xml='urn:x'/>",
            "<a xmlns='http://www.w3.org/2000/xmlns/'/>",
            "<1/>",
            "<a:b:c xmlns:a='urn:a'/>",
            "<a>&</a>",
        ] {
            assert_eq!(error(text), XmlError::NotXml, "{text}");
        }
        assert_eq!(parse(b"<a>\xff</a>").unwrap_err(), XmlError::NotXml);
        assert_eq!(parse(b" \r\n").unwrap(), None);
    }

    #[test]
    fn bombs_are_refused() {
        assert_eq!(error("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"), XmlError::DocType);
        assert_eq!(error(&"<a>".repeat(MAX_DEPTH + 1)), XmlError::TooDeep);
        assert_eq!(error(&format!("<a>{}</a>", "<b/>".repeat(MAX_ELEMENTS))), XmlError::TooMany);
        let declarations: String = (0..=MAX_NAMESPACES).map(|n| format!(" xmlns:n{n}='urn:{n}'")).collect();
        assert_eq!(error(&format!("<a{declarations}/>")), XmlError::TooMany);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn what_is_read_can_be_written_and_read_again(text in "(<a xmlns:x='u' k='&amp;'>|<x:b>|</x:b>|</a>|t|&lt;|<c/>|<d xmlns='v'/>){0,12}") {
            if let Ok(Some(element)) = parse(text.as_bytes()) {
                let again = parse(element.standalone().as_bytes()).unwrap().unwrap();
                prop_assert_eq!(&again.children.len(), &element.children.len());
                prop_assert_eq!(again.standalone().len(), element.standalone().len());
            }
        }
    }
}
