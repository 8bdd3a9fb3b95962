//! The header `If` of WebDAV (RFC 4918 §10.4).
//!
//! What was understood, written again, is understood alike; two headers one behind the other are the lists of both; and
//! white space between the parts means nothing.

use penstock_door::http::condition::{IfHeader, State};

/// Checks an input: a value, or two with a line feed between them.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // A header's value has no line ends, and hyper takes visible ASCII only for text.
    if !text.bytes().all(|byte| byte == b'\n' || byte == b'\t' || (b' '..0x7f).contains(&byte)) {
        return;
    }
    let (one, other) = text.split_once('\n').unwrap_or((text, ""));
    if other.contains('\n') {
        return;
    }
    let Some(header) = IfHeader::parse(one) else {
        assert!(IfHeader::parse(&format!("  {one}\t")).is_none());
        return;
    };
    assert!(!header.lists.is_empty());
    for list in &header.lists {
        assert!(!list.conditions.is_empty());
    }
    assert_eq!(IfHeader::parse(&format!(" {one} ")).as_ref(), Some(&header));
    if let Some(written) = write(&header, "") {
        assert_eq!(IfHeader::parse(&written).as_ref(), Some(&header), "{written}");
    }
    if let Some(written) = write(&header, " \t") {
        assert_eq!(IfHeader::parse(&written).as_ref(), Some(&header), "{written}");
    }
    let tokens = header.tokens();
    let in_lists = header.lists.iter().flat_map(|list| &list.conditions);
    assert_eq!(in_lists.filter(|condition| matches!(condition.state, State::Token(_))).count(), tokens.len());

    let Some(second) = IfHeader::parse(other).filter(|second| second.lists[0].resource.is_some()) else {
        return;
    };
    let both = IfHeader::parse(&format!("{one}{other}")).expect("two headers are one");
    assert_eq!(both.lists, [header.lists, second.lists].concat());
}

/// With `space` wherever white space may stand. `None` for entity tags that were given without quotes and cannot be told
/// in them.
fn write(header: &IfHeader, space: &str) -> Option<String> {
    let mut text = String::new();
    let mut resource = &None;
    for list in &header.lists {
        if list.resource != *resource {
            text.push_str(&format!("{space}<{}>{space}", list.resource.as_deref()?));
            resource = &list.resource;
        }
        text.push('(');
        for condition in &list.conditions {
            text.push_str(space);
            if condition.negated {
                text.push_str(&format!("Not{space}"));
            }
            match &condition.state {
                State::Token(token) => text.push_str(&format!("<{space}{token}{space}>")),
                State::Etag { value, .. } if value.contains('"') => return None,
                State::Etag { weak, value } => {
                    let weak = if *weak { "W/" } else { "" };
                    text.push_str(&format!("[{space}{weak}\"{value}\"{space}]"));
                }
            }
        }
        text.push_str(&format!("{space}){space}"));
    }
    Some(text)
}
