//! Macaroons: the format, the signature, and what caveats mean.
//!
//! What was read, written again, is the same; only the key that made one verifies it, and with any caveat changed none
//! does; and no caveat ever allows what was not allowed without it, on any path, for any operation.

use std::net::{IpAddr, Ipv4Addr};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use penstock_door::auth::activity::Activity;
use penstock_door::auth::caveat::{self, Grant};
use penstock_door::auth::macaroon::{MAX_CAVEATS, Macaroon};
use penstock_door::auth::secret::Secret;
use penstock_door::auth::{Access, Decision, decide};
use penstock_door::namespace::NsPath;

use crate::input::Input;
use crate::operations::OPERATIONS;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const ACTIVITIES: [Activity; 8] = [
    Activity::List,
    Activity::Upload,
    Activity::Download,
    Activity::Delete,
    Activity::Manage,
    Activity::ReadMetadata,
    Activity::UpdateMetadata,
    Activity::Stage,
];

/// Checks an input: a byte that says whether a token's text follows, its packets, or caveats, a line each.
pub fn check(data: &[u8]) {
    let mut input = Input(data);
    match input.byte() % 4 {
        0 => decoded(input.0),
        1 => decoded(URL_SAFE_NO_PAD.encode(input.0).as_bytes()),
        _ => caveats(&input.lines(64).filter_map(|line| std::str::from_utf8(line).ok()).collect::<Vec<_>>()),
    }
}

fn decoded(token: &[u8]) {
    let Ok(macaroon) = Macaroon::decode(token) else { return };
    let text = macaroon.encode().expect("it was in packets before");
    let again = Macaroon::decode(text.as_bytes()).expect("our own writing");
    assert_eq!(again.encode().as_ref(), Ok(&text));
    assert_eq!(macaroon.identifier(), again.identifier());
    assert!(macaroon.caveats().eq(again.caveats()) && macaroon.caveats().count() <= MAX_CAVEATS);
    assert!(macaroon.verify(&Secret::new(*b"nobody's key")).is_err(), "a forged signature");
    assert!(!format!("{macaroon:?}").contains("signature: [") && text.len() > 40);
}

fn caveats(texts: &[&str]) {
    let (key, other) = (Secret::new(*b"one"), Secret::new(*b"other"));
    let mut macaroon = Macaroon::mint("https://door.example.org", "key1", &key);
    for text in texts {
        macaroon = macaroon.with_caveat(text);
    }
    assert_eq!(macaroon.verify(&key), Ok(()));
    assert!(macaroon.verify(&other).is_err());
    if let Ok(token) = macaroon.encode() {
        let decoded = Macaroon::decode(token.as_bytes());
        if token.len() <= penstock_door::auth::macaroon::MAX_TOKEN_BYTES {
            let decoded = decoded.expect("our own writing");
            assert_eq!(decoded.verify(&key), Ok(()));
            assert!(decoded.caveats().eq(texts.iter().map(|text| text.as_bytes())));
            if let Some((_, before)) = texts.split_last() {
                shortened(&token, before, &key);
            }
        } else {
            assert!(decoded.is_err());
        }
    }
    attenuated(texts);
}

/// The token with its last caveat cut out of the packets and the signature left: what a thief would try.
fn shortened(token: &str, before: &[&str], key: &Secret) {
    let whole = URL_SAFE_NO_PAD.decode(token).expect("our own writing");
    let mut cut = Macaroon::mint("https://door.example.org", "key1", key);
    for text in before {
        cut = cut.with_caveat(text);
    }
    let cut = URL_SAFE_NO_PAD.decode(cut.encode().expect("shorter than before")).expect("our own writing");
    // "002fsignature ", 32 bytes, a line feed.
    let forged = [&cut[..cut.len() - 47], &whole[whole.len() - 47..]].concat();
    let forged = Macaroon::decode(URL_SAFE_NO_PAD.encode(forged).as_bytes()).expect("whole packets");
    assert!(forged.verify(key).is_err(), "a caveat was taken away");
}

fn attenuated(texts: &[&str]) {
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    let mut held = vec!["iid:x", "id:1;1;a"];
    let evaluate = |held: &[&str]| caveat::evaluate(held.iter().map(|text| text.as_bytes()), CLIENT, now);
    let mut before = evaluate(&held).expect("a macaroon without restrictions");
    for text in texts {
        held.push(text);
        // What once opens nothing never opens anything.
        let Ok(after) = evaluate(&held) else {
            held.extend(texts);
            assert!(evaluate(&held).is_err());
            return;
        };
        narrower(&before, &after);
        before = after;
    }
}

fn narrower(before: &Grant, after: &Grant) {
    assert_eq!((&before.identity, &before.issue_id), (&after.identity, &after.issue_id));
    for activity in ACTIVITIES {
        assert!(before.activities.has(activity) || !after.activities.has(activity), "{activity:?} was added");
    }
    if let Some(before) = before.max_upload {
        assert!(after.max_upload.is_some_and(|after| after <= before));
    }
    assert!(after.root.is_within(&before.root));
    let (before_access, after_access) =
        (Access::Token(Box::new(before.clone())), Access::Token(Box::new(after.clone())));
    for view in views(before, after) {
        let Ok(real) = after_access.real_path(&view) else { continue };
        for operation in OPERATIONS {
            if decide(&after_access, operation, &real) == Decision::Allow {
                assert_eq!(
                    decide(&before_access, operation, &real),
                    Decision::Allow,
                    "{operation:?} of {real}"
                );
            }
        }
    }
}

/// Paths that a client could name: where limits are, above, below and beside them.
fn views(before: &Grant, after: &Grant) -> Vec<NsPath> {
    let mut views = vec![NsPath::root()];
    let limits =
        before.path_limits.iter().chain(&after.path_limits).chain([&before.root, &after.root, &after.home]);
    for limit in limits {
        views.push(limit.clone());
        views.extend(limit.child("below"));
        views.extend(limit.parent());
        views.extend(limit.parent().and_then(|parent| parent.child("beside").ok()));
        // As the client sees it.
        views.extend(limit.below(&after.root));
    }
    views
}
