//! What macaroons are made for whom. The one rule: whatever the new one may do, its owner may do.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::auth::decision::{Anonymous, Decision, decide};
use crate::auth::identity::{Identity, Scheme};
use crate::auth::keys;
use crate::auth::known::Granted;
use crate::auth::rights::{Reach, Right};

const LIFETIMES: Lifetimes =
    Lifetimes { usual: Duration::from_secs(86_400), longest: Duration::from_secs(7 * 86_400) };

fn ring() -> KeyRing {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    keys::create_if_missing(&path).unwrap();
    KeyRing::load(&path).unwrap()
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn path(text: &str) -> NsPath {
    NsPath::parse(text).unwrap()
}

fn known(reaches: &[(&str, &[Right])], scopes: Option<&[(&str, &[Right])]>) -> Known {
    let reach = |(prefix, rights): &(&str, &[Right])| Reach { prefix: path(prefix), rights: rights.to_vec() };
    Known {
        identity: Identity::new(Scheme::Token, "alice@https://vo.example"),
        scopes: scopes.map(|scopes| scopes.iter().map(reach).collect()),
        granted: reaches.iter().map(|one| Granted { reach: reach(one), experiment: None }).collect(),
        anonymous: Anonymous::None,
        proof: None,
    }
}

fn ask(keys: &KeyRing, access: &Access, at: &str, caveats: &[&str]) -> Result<Issued, RequestError> {
    let caveats = caveats.iter().map(|caveat| (*caveat).to_owned()).collect();
    issue(keys, "https://door", access, &path(at), &Wish { caveats, validity: None }, LIFETIMES, now())
}

fn open(keys: &KeyRing, token: &str) -> Access {
    let macaroon = Macaroon::decode(token.as_bytes()).unwrap();
    macaroon.verify(keys.find(macaroon.identifier()).unwrap()).unwrap();
    let client: IpAddr = "192.0.2.7".parse().unwrap();
    let mut grant = caveat::evaluate(macaroon.caveats(), client, now()).unwrap();
    grant.macaroon = Some(macaroon);
    Access::Token(Box::new(grant))
}

fn caveats_of(token: &str) -> Vec<String> {
    let macaroon = Macaroon::decode(token.as_bytes()).unwrap();
    macaroon.caveats().map(|caveat| String::from_utf8(caveat.to_vec()).unwrap()).collect()
}

#[test]
fn a_request_at_a_path_gives_a_macaroon_for_that_path_with_the_rights_that_are_held_there() {
    let keys = ring();
    let access = Access::Known(Box::new(known(&[("/a", &[Right::Read, Right::Create])], None)));
    let issued = ask(&keys, &access, "/a/b", &["activity:DOWNLOAD,DELETE"]).unwrap();
    let caveats = caveats_of(&issued.macaroon);
    assert_eq!(caveats[0], format!("iid:{}", issued.issue_id));
    assert_eq!(
        caveats[1..],
        [
            "id:65534;65534;alice@https://vo.example",
            "path:/a/b",
            "activity:LIST,UPLOAD,DOWNLOAD,MANAGE,READ_METADATA",
            "before:2026-01-02T00:00:00Z",
            "activity:DOWNLOAD,DELETE",
        ]
    );
    assert_eq!(issued.lifetime, LIFETIMES.usual);
}

#[test]
fn nobody_gets_a_macaroon_for_what_is_not_theirs() {
    let keys = ring();
    let everybody = Access::Anonymous(Anonymous::Write);
    assert!(matches!(ask(&keys, &everybody, "/", &[]), Err(RequestError::Anonymous)));
    let access = Access::Known(Box::new(known(&[("/a/b", &[Right::Read])], None)));
    for elsewhere in ["/", "/a", "/a/bc", "/c"] {
        assert!(matches!(ask(&keys, &access, elsewhere, &[]), Err(RequestError::NoRights)), "{elsewhere}");
    }
}

#[test]
fn a_macaroon_ends_with_what_was_shown_for_it_and_after_seven_days_at_the_latest() {
    let keys = ring();
    let mut person = known(&[("/", &[Right::Read])], None);
    let lifetime = |person: &Known, validity: u64| {
        let wish = Wish { caveats: vec![], validity: Some(Duration::from_secs(validity)) };
        let access = Access::Known(Box::new(person.clone()));
        let issued = issue(&keys, "x", &access, &NsPath::root(), &wish, LIFETIMES, now()).unwrap();
        issued.lifetime.as_secs()
    };
    assert_eq!(lifetime(&person, 300), 300);
    assert_eq!(lifetime(&person, 8 * 86_400), 7 * 86_400);
    assert_eq!(lifetime(&person, u64::MAX), 7 * 86_400);
    person.identity.expires_at = now().checked_add(SignedDuration::from_secs(60)).ok();
    assert_eq!(lifetime(&person, 300), 60);
}

#[test]
fn what_a_caveat_says_is_checked_before_it_is_signed() {
    let keys = ring();
    let access = Access::Known(Box::new(known(&[("/", &[Right::Read])], None)));
    for bad in [
        "colour:blue",
        "nothing",
        "iid:x",
        "id:0;0;root",
        "before:2020-01-01T00:00:00Z",
        "path:x",
        "activity:",
    ] {
        assert!(matches!(ask(&keys, &access, "/", &[bad]), Err(RequestError::Caveat(_))), "{bad}");
    }
    assert!(ask(&keys, &access, "/", &["ip:198.51.100.1"]).is_ok(), "it may be for somebody else");
    assert!(matches!(ask(&keys, &access, "/", &["path:/a"; 65]), Err(RequestError::TooMany)));
    let long = format!("path:{}", "/aaaaaaa".repeat(500));
    assert!(matches!(
        ask(&keys, &access, "/", &[long.as_str(); 5]),
        Err(RequestError::Caveat(_) | RequestError::TooLong)
    ));
}

#[test]
fn a_macaroon_asked_for_with_a_macaroon_is_the_same_one_narrowed() {
    let keys = ring();
    let person = Access::Known(Box::new(known(&[("/", &[Right::Read])], None)));
    let first = ask(&keys, &person, "/a", &["max-upload:5"]).unwrap();
    let access = open(&keys, &first.macaroon);
    let second = ask(&keys, &access, "/a/b", &["activity:LIST"]).unwrap();
    let (before, after) = (caveats_of(&first.macaroon), caveats_of(&second.macaroon));
    assert_eq!(after[..before.len()], before);
    assert_eq!(after[before.len()..], ["path:/b", "before:2026-01-02T00:00:00Z", "activity:LIST"]);
    let above = ask(&keys, &access, "/", &[]).unwrap();
    assert_eq!(caveats_of(&above.macaroon)[before.len()..], ["before:2026-01-02T00:00:00Z"]);
    assert!(matches!(ask(&keys, &access, "/c", &[]), Err(RequestError::NoRights)));
}

fn any_path() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("/"),
        Just("/a"),
        Just("/a/b"),
        Just("/a/b/c"),
        Just("/a/bc"),
        Just("/b"),
        Just("/b/c"),
        Just("/a/b/c/d")
    ]
}

fn any_rights() -> impl Strategy<Value = Vec<Right>> {
    let right = prop_oneof![
        Just(Right::Stat),
        Just(Right::Read),
        Just(Right::Create),
        Just(Right::Modify),
        Just(Right::Stage)
    ];
    proptest::collection::vec(right, 0..4)
}

fn any_reaches() -> impl Strategy<Value = Vec<Reach>> {
    let reach =
        (any_path(), any_rights()).prop_map(|(prefix, rights)| Reach { prefix: path(prefix), rights });
    proptest::collection::vec(reach, 0..4)
}

proptest! {
    #[test]
    fn no_macaroon_allows_what_its_owner_may_not(
        granted in any_reaches(),
        scopes in proptest::option::of(any_reaches()),
        at in any_path(),
        further in proptest::collection::vec(
            prop_oneof![Just("path:/b"), Just("root:/a"), Just("root:/b"), Just("activity:UPLOAD,DELETE")], 0..4),
        again in any_path(),
    ) {
        let keys = ring();
        let granted = granted.into_iter().map(|reach| Granted { reach, experiment: None }).collect();
        let owner = Access::Known(Box::new(Known { scopes, granted, ..known(&[], None) }));
        let further: Vec<&str> = further;
        let Ok(first) = ask(&keys, &owner, at, &further) else { return Ok(()) };
        let holder = open(&keys, &first.macaroon);
        let second = ask(&keys, &holder, again, &[]).ok().map(|issued| open(&keys, &issued.macaroon));
        for place in ["/", "/a", "/a/b", "/a/b/c", "/a/b/c/d", "/a/bc", "/b", "/b/c", "/b/b", "/z"] {
            for operation in OPERATIONS {
                let allowed = |access: &Access| decide(access, operation, &path(place)) == Decision::Allow;
                prop_assert!(!allowed(&holder) || allowed(&owner), "{operation:?} {place}");
                if let Some(second) = &second {
                    prop_assert!(!allowed(second) || allowed(&holder), "narrowed: {operation:?} {place}");
                }
            }
        }
    }
}
