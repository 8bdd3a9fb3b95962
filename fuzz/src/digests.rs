//! What clients say of checksums, and ask of them, at the pool and at the door.
//!
//! Each algorithm is stated once; what was understood, written again, is understood alike; a value that states nothing
//! is no checksum; and where pool and door both understand a header, they understand the same.

use std::collections::BTreeSet;

use penstock_door::checksum as door;
use penstock_pool::checksum::Checksum;
use penstock_pool::http1::{
    Limits, Parsed, Request, WantedDigests, digest_header, parse, repr_digest_header, stated_checksums,
};

use crate::input::{Input, head};

const HEADERS: [&str; 6] =
    ["Digest", "Repr-Digest", "Content-Digest", "Content-MD5", "Want-Digest", "Want-Repr-Digest"];

/// Checks an input: a line for each header's value.
pub fn check(data: &[u8]) {
    let lines: Vec<&[u8]> = Input(data).lines(HEADERS.len()).collect();
    let filled = HEADERS.iter().zip(&lines).filter(|(_, value)| !value.is_empty());
    let Some(request) = request(filled.map(|(name, value)| (*name, *value))) else { return };
    if let Ok(stated) = stated_checksums(&request) {
        once(stated.iter().map(Checksum::algorithm));
        let written = [("Digest", digest_header(&stated)), ("Repr-Digest", repr_digest_header(&stated))];
        let fields = written.iter().filter(|(_, value)| !value.is_empty());
        let again =
            self::request(fields.map(|(name, value)| (*name, value.as_bytes()))).expect("fits a head");
        assert_eq!(stated_checksums(&again), Ok(stated));
    }
    let wanted = WantedDigests::of(&request);
    once(wanted.digest.iter().copied());
    once(wanted.repr_digest.iter().copied());
    for (name, value) in HEADERS.iter().zip(&lines) {
        if let Ok(value) = std::str::from_utf8(value) {
            at_the_door(name, value);
        }
    }
}

fn request<'a>(fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> Option<Request> {
    let always: [(&str, &[u8]); 2] = [("Host", b"a"), ("Content-Length", b"1")];
    match parse(&head("PUT / HTTP/1.1", always.into_iter().chain(fields)), &Limits::default()) {
        Ok(Parsed::Complete { head, .. }) => Some(*head),
        _ => None,
    }
}

fn once<T: Ord>(items: impl Iterator<Item = T>) {
    let items: Vec<T> = items.collect();
    let count = items.len();
    assert_eq!(items.into_iter().collect::<BTreeSet<T>>().len(), count, "an algorithm twice");
}

fn at_the_door(name: &str, value: &str) {
    let stated = match name {
        "Digest" => door::parse_digest(value),
        "Repr-Digest" => door::parse_repr_digest(value),
        "Want-Digest" => return asked(&door::parse_want_digest(value)),
        "Want-Repr-Digest" => return asked(&door::parse_want_repr_digest(value)),
        _ => return,
    };
    let Some(stated) = stated else { return };
    let (digest, repr_digest) = (door::digest_list(&stated), door::repr_digest_list(&stated));
    assert_eq!(door::parse_digest(&digest).as_ref(), Some(&stated));
    assert_eq!(door::parse_repr_digest(&repr_digest).as_ref(), Some(&stated));
    assert_eq!(door::from_record(&door::to_record(&stated)), stated);
    for element in value.split(',') {
        let nothing = element.split_once('=').is_some_and(|(_, value)| value.trim().is_empty());
        let known = element.split('=').next().and_then(|name| door::Algorithm::from_digest_name(name.trim()));
        // Within quotation marks a comma separates nothing.
        let is_element = name == "Digest" && !value.contains('"');
        assert!(!(is_element && nothing && known.is_some()), "an empty value was taken for a checksum");
    }
    // The pool's reading of the same header.
    let Some(request) = request([(name, value.as_bytes())].into_iter()) else { return };
    let Ok(at_the_pool) = stated_checksums(&request) else { return };
    for checksum in stated {
        let number = checksum.to_proto().algorithm;
        let same =
            at_the_pool.iter().map(|other| penstock_pool_proto(*other)).find(|other| other.0 == number);
        if let Some((_, other)) = same {
            assert_eq!(other, checksum.to_proto().value, "{name}: {value}");
        }
    }
}

/// The contract's number of the algorithm, and the raw value.
fn penstock_pool_proto(checksum: Checksum) -> (i32, Vec<u8>) {
    let algorithm = door::Algorithm::from_digest_name(checksum.algorithm().digest_name());
    let number = algorithm.expect("both name the same algorithms").to_proto().into();
    (number, checksum.value().to_vec())
}

fn asked(wanted: &[door::Algorithm]) {
    for (index, algorithm) in wanted.iter().enumerate() {
        assert!(!wanted[..index].contains(algorithm), "an algorithm twice");
    }
}
