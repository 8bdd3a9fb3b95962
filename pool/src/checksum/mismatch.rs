//! Comparing what was promised with what arrived.

use std::fmt::Write;

use super::Checksum;

/// The expected checksums that differ from the actual one of the same algorithm.
///
/// An expected checksum without an actual one of its algorithm counts as differing: what was not computed was not
/// verified.
pub fn mismatch(expected: &[Checksum], actual: &[Checksum]) -> Vec<Checksum> {
    expected.iter().filter(|checksum| !actual.contains(checksum)).copied().collect()
}

/// The text that operators know from dCache:
/// `Checksum mismatch (expected=[2:29f4…], actual=[1:af54…, 2:ac56…])`, the numbers being dCache's types.
pub fn mismatch_text(expected: &[Checksum], actual: &[Checksum]) -> String {
    let mut text = String::from("Checksum mismatch (expected=[");
    list(&mut text, expected);
    text.push_str("], actual=[");
    list(&mut text, actual);
    text.push_str("])");
    text
}

fn list(text: &mut String, checksums: &[Checksum]) {
    for (i, checksum) in checksums.iter().enumerate() {
        if i > 0 {
            text.push_str(", ");
        }
        // Writing to a String cannot fail.
        let _ = match checksum.algorithm().dcache_type() {
            Some(number) => write!(text, "{number}:{}", checksum.hex()),
            None => write!(text, "{checksum}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checksums(texts: &[&str]) -> Vec<Checksum> {
        texts.iter().map(|t| t.parse().unwrap()).collect()
    }

    #[test]
    fn the_text_is_the_one_that_operators_know() {
        let expected = checksums(&["md5:29f4bf55fe826e5b167340f91aeb0f49"]);
        let actual =
            checksums(&["adler32:af543afc", "md5:ac56f4b8fac5739ccdb45777d313becf", "crc32c:0a72a4df"]);
        assert_eq!(
            mismatch_text(&expected, &actual),
            "Checksum mismatch (expected=[2:29f4bf55fe826e5b167340f91aeb0f49], actual=[1:af543afc, \
             2:ac56f4b8fac5739ccdb45777d313becf, crc32c:0a72a4df])"
        );
    }

    #[test]
    fn only_what_differs_or_was_not_computed_is_a_mismatch() {
        let actual = checksums(&["adler32:af543afc", "md5:ac56f4b8fac5739ccdb45777d313becf"]);
        assert_eq!(mismatch(&actual, &actual), []);
        assert_eq!(mismatch(&[], &actual), []);
        let wrong = checksums(&["adler32:af543afc", "md5:29f4bf55fe826e5b167340f91aeb0f49"]);
        assert_eq!(mismatch(&wrong, &actual), wrong[1..]);
        let unverified = checksums(&["crc32:00000000"]);
        assert_eq!(mismatch(&unverified, &actual), unverified);
    }
}
