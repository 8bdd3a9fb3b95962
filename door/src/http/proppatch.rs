//! PROPPATCH: dead properties are set and removed, all of a request's or none (RFC 4918 §9.2).

use hyper::StatusCode;

use super::answer::{Answer, Refusal, full};
use super::exchange::Exchange;
use super::multistatus::{self, empty_element, href, write_propstat};
use super::property::Property;
use super::xml::{self, DAV, Element};
use super::{condition, delete, propfind, request_body};
use crate::auth::Operation;
use crate::namespace::{ChangeError, DeadProperty, PropertyChange};

/// Changes that one request may ask for.
const MAX_CHANGES: usize = 256;

/// Why a body is no PROPPATCH.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProppatchError {
    /// Not XML as it is accepted.
    #[error(transparent)]
    Xml(#[from] xml::XmlError),
    /// Something else.
    #[error("the body is not a propertyupdate element of namespace DAV: with set or remove")]
    NotProppatch,
    /// Too many.
    #[error("the body changes more than {MAX_CHANGES} properties")]
    TooMany,
}

/// What is wished for one property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Which.
    pub property: Property,
    /// The element to be kept; `None` to remove it.
    pub value: Option<String>,
}

/// Answers it.
pub async fn handle(exchange: &mut Exchange) -> Result<Answer, Refusal> {
    exchange.allow(Operation::UpdateMetadata)?;
    let body = request_body::xml(exchange).await?;
    let wishes = parse(&body).map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let entry = exchange.existing().await?;
    let shown = condition::check_all(exchange).await?.shown;
    let protected = wishes.iter().any(|wish| matches!(wish.property, Property::Known(_)));
    let outcome = if protected {
        Outcome::Protected
    } else {
        let changes: Vec<PropertyChange> = wishes.iter().filter_map(change).collect();
        let changed = exchange.service.namespace.change_properties(&exchange.path, &entry, &changes, &shown);
        match changed.await {
            Ok(()) => Outcome::Done,
            Err(ChangeError::TooManyProperties) => Outcome::TooMuch,
            Err(error) => return Err(delete::refuse(exchange, error)),
        }
    };
    Ok(propfind::xml_answer(full(answer(&wishes, outcome, &href(&exchange.view_path, &entry)))))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// All is done.
    Done,
    /// Nothing, as the door computes some of them itself.
    Protected,
    /// Nothing, as it would be more than is kept.
    TooMuch,
}

fn answer(wishes: &[Wish], outcome: Outcome, href: &str) -> String {
    let mut xml = format!("{}<d:response><d:href>{href}</d:href>", multistatus::HEAD);
    let elements = |known: Option<bool>| -> String {
        let chosen = wishes
            .iter()
            .filter(|wish| known.is_none_or(|known| known == matches!(wish.property, Property::Known(_))));
        chosen.map(|wish| empty_element(&wish.property)).collect()
    };
    match outcome {
        Outcome::Done => write_propstat(&mut xml, &elements(None), "200 OK"),
        Outcome::TooMuch => write_propstat(&mut xml, &elements(None), "507 Insufficient Storage"),
        Outcome::Protected => {
            xml.push_str(&format!(
                "<d:propstat><d:prop>{}</d:prop><d:status>HTTP/1.1 403 Forbidden</d:status>\
                 <d:error><d:cannot-modify-protected-property/></d:error></d:propstat>",
                elements(Some(true))
            ));
            let others = elements(Some(false));
            if !others.is_empty() {
                write_propstat(&mut xml, &others, "424 Failed Dependency");
            }
        }
    }
    xml.push_str("</d:response>\n");
    xml.push_str(multistatus::TAIL);
    xml
}

fn change(wish: &Wish) -> Option<PropertyChange> {
    let Property::Other { namespace, local } = &wish.property else { return None };
    let (namespace, name) = (namespace.clone(), local.clone());
    Some(match &wish.value {
        Some(xml) => PropertyChange::Set(DeadProperty { namespace, name, xml: xml.clone() }),
        None => PropertyChange::Remove { namespace, name },
    })
}

/// Reads the body: at least one wish, in their order (RFC 4918 §9.2).
pub fn parse(body: &[u8]) -> Result<Vec<Wish>, ProppatchError> {
    let root = xml::parse(body)?.ok_or(ProppatchError::NotProppatch)?;
    if !root.is(DAV, "propertyupdate") {
        return Err(ProppatchError::NotProppatch);
    }
    let mut wishes = Vec::new();
    for instruction in root.elements() {
        let sets = instruction.is(DAV, "set");
        if !sets && !instruction.is(DAV, "remove") {
            continue;
        }
        let properties = instruction.elements().filter(|element| element.is(DAV, "prop"));
        for element in properties.flat_map(Element::elements) {
            if wishes.len() == MAX_CHANGES {
                return Err(ProppatchError::TooMany);
            }
            let value = sets.then(|| element.standalone());
            wishes.push(Wish { property: Property::of(element), value });
        }
    }
    if wishes.is_empty() { Err(ProppatchError::NotProppatch) } else { Ok(wishes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_in_their_order() {
        let body = "<p:propertyupdate xmlns:p='DAV:' xmlns:z='urn:z'>\
            <p:set><p:prop><z:a>1</z:a><p:getetag>x</p:getetag></p:prop></p:set>\
            <other/><p:remove><p:prop><z:b/></p:prop></p:remove></p:propertyupdate>";
        let wishes = parse(body.as_bytes()).unwrap();
        let other = |local: &str| Property::Other { namespace: "urn:z".into(), local: local.into() };
        assert_eq!(wishes[0].property, other("a"));
        assert!(wishes[0].value.as_ref().unwrap().ends_with(">1</z:a>"));
        assert!(matches!(wishes[1].property, Property::Known(_)));
        assert_eq!((&wishes[2].property, &wishes[2].value), (&other("b"), &None));
    }

    #[test]
    fn what_is_no_proppatch_is_refused() {
        for body in [
            "",
            "<a/>",
            "<propertyupdate xmlns='DAV:'/>",
            "<propertyupdate xmlns='DAV:'><set/></propertyupdate>",
            "<propertyupdate xmlns='DAV:'><prop><a/></prop></propertyupdate>",
        ] {
            assert_eq!(parse(body.as_bytes()), Err(ProppatchError::NotProppatch), "{body}");
        }
        let many: String = (0..=MAX_CHANGES).map(|n| format!("<a{n}/>")).collect();
        let body = format!("<propertyupdate xmlns='DAV:'><set><prop>{many}</prop></set></propertyupdate>");
        assert_eq!(parse(body.as_bytes()), Err(ProppatchError::TooMany));
    }

    #[test]
    fn one_protected_property_keeps_all_from_changing() {
        let body = "<propertyupdate xmlns='DAV:'><set><prop><getetag/><a xmlns='urn:a'/></prop></set></propertyupdate>";
        let xml = answer(&parse(body.as_bytes()).unwrap(), Outcome::Protected, "/f");
        assert!(xml.contains("<d:prop><d:getetag/></d:prop><d:status>HTTP/1.1 403"), "{xml}");
        assert!(xml.contains("<d:prop><x:a xmlns:x=\"urn:a\"/></d:prop><d:status>HTTP/1.1 424"), "{xml}");
    }
}
