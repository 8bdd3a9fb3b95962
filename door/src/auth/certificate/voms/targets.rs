//! For which hosts attributes are meant: `targetInformation` (RFC 5755 §4.3.2), as `voms-proxy-init -target HOST` asks for.
//!
//! A list that names nobody, or only what is not understood here, is for nobody: it never becomes one for everybody.

use url::Url;
use x509_parser::asn1_rs::{Class, FromDer, Tag};
use x509_parser::extensions::GeneralName;

use super::attribute_certificate::Der;

/// Targets in one attribute certificate.
const MAX_TARGETS: usize = 64;
/// Longest name of one, in bytes.
const MAX_NAME_BYTES: usize = 1024;

/// The hosts, in lower case. `None` when it cannot be read.
///
/// `SEQUENCE OF Targets`, `Targets ::= SEQUENCE OF Target`, `Target ::= CHOICE { targetName [0] GeneralName,
/// targetGroup [1] GeneralName, targetCert [2] TargetCert }`. Groups and certificates name no host.
pub(super) fn hosts(mut value: Der<'_>) -> Option<Vec<String>> {
    let mut all = value.sequence()?;
    let mut found = Vec::new();
    let mut targets_left = MAX_TARGETS;
    while !all.is_empty() {
        let mut targets = all.sequence()?;
        while !targets.is_empty() {
            targets_left = targets_left.checked_sub(1)?;
            if let Some(name) = targets.take(Class::ContextSpecific, Tag(0)) {
                let (rest, name) = GeneralName::from_der(name.contents).ok()?;
                if !rest.is_empty() {
                    return None;
                }
                found.extend(host(&name));
            } else {
                let _other = [1, 2].into_iter().find_map(|number| targets.tagged(number))?;
            }
        }
    }
    value.is_empty().then_some(found)
}

/// VOMS writes a bare host as a URI.
fn host(name: &GeneralName<'_>) -> Option<String> {
    let (GeneralName::URI(text) | GeneralName::DNSName(text)) = *name else { return None };
    if text.len() > MAX_NAME_BYTES {
        return None;
    }
    if text.contains("://") {
        return Url::parse(text).ok()?.host_str().map(str::to_ascii_lowercase);
    }
    Some(text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(contents.len()).unwrap()], contents].concat()
    }

    /// A target of that kind (0: a name), whose name is of that kind (6: a URI).
    fn target(kind: u8, name: u8, text: &str) -> Vec<u8> {
        element(0xa0 | kind, &element(0x80 | name, text.as_bytes()))
    }

    fn list(targets: &[Vec<u8>]) -> Vec<u8> {
        element(0x30, &element(0x30, &targets.concat()))
    }

    #[test]
    fn hosts_are_read_however_they_are_written_and_nothing_else_becomes_one() {
        let cases: &[(Vec<u8>, Option<&[&str]>)] = &[
            (list(&[target(0, 6, "Door.example.org")]), Some(&["door.example.org"])),
            (list(&[target(0, 2, "door.example.org")]), Some(&["door.example.org"])),
            (list(&[target(0, 6, "https://Door.example.org:2880/x")]), Some(&["door.example.org"])),
            (list(&[target(0, 6, "a"), target(0, 6, "b")]), Some(&["a", "b"])),
            (
                element(
                    0x30,
                    &[element(0x30, &target(0, 6, "a")), element(0x30, &target(0, 6, "b"))].concat(),
                ),
                Some(&["a", "b"]),
            ),
            // As VOMS 2 writes it when the name of its target is lost on the way.
            (vec![0x30, 2, 0x30, 0], Some(&[])),
            (vec![0x30, 0], Some(&[])),
            (list(&[target(1, 6, "door.example.org")]), Some(&[])),
            (list(&[target(0, 1, "door@example.org")]), Some(&[])),
            (list(&[target(3, 6, "door.example.org")]), None),
            (element(0x30, &target(0, 6, "door.example.org")), None),
            ([list(&[target(0, 6, "a")]), vec![5, 0]].concat(), None),
            (list(&[element(0xa0, &[0x86, 1, b'a', 5, 0])]), None),
            (vec![0x30, 0x80, 0, 0], None),
            (Vec::new(), None),
        ];
        for (value, expected) in cases {
            let found = hosts(Der(value));
            let found = found.as_ref().map(|found| found.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(found.as_deref(), *expected, "{value:x?}");
        }
    }

    #[test]
    fn more_targets_than_anybody_needs_are_not_read() {
        let of = |count: usize| {
            // Each is of five bytes, so that one byte of length is not enough.
            let targets = target(0, 6, "a").repeat(count);
            let head = |length: usize| {
                let length = u16::try_from(length).unwrap().to_be_bytes();
                vec![0x30, 0x82, length[0], length[1]]
            };
            [head(targets.len() + 4), head(targets.len()), targets].concat()
        };
        assert_eq!(hosts(Der(&of(MAX_TARGETS))).map(|found| found.len()), Some(MAX_TARGETS));
        assert_eq!(hosts(Der(&of(MAX_TARGETS + 1))), None);
    }
}
