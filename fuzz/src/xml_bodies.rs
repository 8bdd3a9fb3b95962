//! Bodies in XML: PROPFIND, PROPPATCH, LOCK.
//!
//! An element that was read, written by itself, is read as the same element, so that what a client leaves here and another
//! gets is what was left; nothing in it can end the document that it is put into; and what is read is bounded.

use penstock_door::http::property::{self, Property, Wanted};
use penstock_door::http::xml::{self, DAV, Element, Node};
use penstock_door::http::{lock, proppatch};

/// What a request may name or change.
const MAX_PROPERTIES: usize = 256;
/// What is kept of who holds a lock.
const MAX_OWNER_BYTES: usize = 4096;

/// Checks an input: a body.
pub fn check(data: &[u8]) {
    let tree = xml::parse(data);
    propfind(data, tree.is_ok());
    match tree {
        Ok(Some(root)) => {
            written_again(&root);
            for element in root.elements().take(16) {
                written_again(element);
            }
            if let Ok(wish) = lock::wish(&root) {
                assert!(root.is(DAV, "lockinfo") && wish.owner.len() <= MAX_OWNER_BYTES);
                if !wish.owner.is_empty() {
                    assert!(read(&wish.owner).is(DAV, "owner"));
                }
            }
        }
        Ok(None) => assert!(data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data).trim_ascii().is_empty()),
        Err(_) => {}
    }
    if let Ok(wishes) = proppatch::parse(data) {
        assert!((1..=MAX_PROPERTIES).contains(&wishes.len()));
        for wish in wishes {
            if let Some(value) = wish.value {
                assert_eq!(Property::of(&read(&value)), wish.property);
            }
        }
    }
}

fn read(element: &str) -> Element {
    match xml::parse(element.as_bytes()) {
        Ok(Some(element)) => element,
        other => panic!("{element:?} became {other:?}"),
    }
}

fn written_again(element: &Element) {
    let alone = element.standalone();
    let again = read(&alone);
    same(element, &again);
    // Declarations may stand in another order, and nothing is added each time.
    assert_eq!(again.standalone().len(), alone.len());
    same(element, &read(&again.standalone()));
    // As it stands among the properties of an answer, where other prefixes hold.
    let around = format!("<d:prop xmlns:d=\"DAV:\" xmlns:p=\"urn:x\" xml:lang=\"xx\">{alone}</d:prop>");
    let inside = read(&around);
    let found: Vec<&Element> = inside.elements().collect();
    assert_eq!((found.len(), inside.children.len()), (1, 1), "{around}");
    same(element, found[0]);
}

/// Names and contents; how prefixes are called does not matter.
fn same(one: &Element, other: &Element) {
    assert_eq!((&one.namespace, &one.local), (&other.namespace, &other.local));
    assert_eq!(one.children.len(), other.children.len());
    for pair in one.children.iter().zip(&other.children) {
        match pair {
            (Node::Element(one), Node::Element(other)) => same(one, other),
            (Node::Text(one), Node::Text(other)) => assert_eq!(one, other),
            (one, other) => panic!("{one:?} became {other:?}"),
        }
    }
}

fn propfind(data: &[u8], is_xml: bool) {
    let Ok(wanted) = property::parse(data) else { return };
    assert!(is_xml, "a PROPFIND that is no XML");
    let named = match &wanted {
        Wanted::All(properties) | Wanted::Some(properties) => properties.as_slice(),
        Wanted::Names => &[],
    };
    // Of several `include` each has its own bound, and the body has that of all its elements.
    assert!(matches!(wanted, Wanted::All(_)) || named.len() <= MAX_PROPERTIES);
    for property in named {
        match property {
            Property::Known(known) => assert!(wanted.has(*known)),
            Property::Other { namespace, local } => {
                assert!(wanted.has_dead() && property::Known::find(namespace, local).is_none());
            }
        }
    }
}
