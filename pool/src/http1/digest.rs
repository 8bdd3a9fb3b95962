//! Digest headers: what a client wants to know (RFC 3230, RFC 9530), and what it says of the file that it uploads.

use std::fmt::Write;

use super::list::trim;
use super::{BadRequest, Request};
use crate::checksum::{Algorithm, AlgorithmSet, Checksum};

/// Weights are kept in thousandths: three decimals are all that a `q` may have (RFC 9110 §12.4.2).
const FULL_WEIGHT: u16 = 1000;

/// The algorithms that a client asks for, best first, each at most once. Unknown ones and those it refuses are left
/// out, and so is what is malformed: these headers only ever ask for a favour.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WantedDigests {
    /// By `Want-Digest`, to be answered with `Digest`.
    pub digest: Vec<Algorithm>,
    /// By `Want-Repr-Digest`, to be answered with `Repr-Digest`.
    pub repr_digest: Vec<Algorithm>,
}

impl WantedDigests {
    /// Reads both headers.
    pub fn of(request: &Request) -> Self {
        Self {
            digest: by_weight(request.list("want-digest").filter_map(want_digest)),
            repr_digest: by_weight(request.list("want-repr-digest").filter_map(want_repr_digest)),
        }
    }

    /// Everything that must be known to answer.
    pub fn algorithms(&self) -> AlgorithmSet {
        self.digest.iter().chain(&self.repr_digest).copied().collect()
    }
}

fn by_weight(wanted: impl Iterator<Item = (Algorithm, u16)>) -> Vec<Algorithm> {
    // Of an algorithm that is named several times the first counts; so the list is never longer than all algorithms.
    let mut seen = AlgorithmSet::EMPTY;
    let mut list: Vec<_> = wanted.filter(|(algorithm, _)| seen.insert(*algorithm)).collect();
    list.retain(|(_, weight)| *weight > 0);
    // Stable: of equal weights the first named is the better.
    list.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
    list.into_iter().map(|(algorithm, _)| algorithm).collect()
}

/// `MD5` or `ADLER32;q=0.5` (RFC 3230 §4.3.1).
fn want_digest(element: &str) -> Option<(Algorithm, u16)> {
    let (name, parameters) = element.split_once(';').unwrap_or((element, ""));
    Some((Algorithm::from_name(trim(name))?, q_weight(parameters)?))
}

/// `sha-256=10` (RFC 9530 §4). dCache reads `sha-256;q=1` here, so that clients of it may send that: it is understood.
fn want_repr_digest(element: &str) -> Option<(Algorithm, u16)> {
    let (member, parameters) = element.split_once(';').unwrap_or((element, ""));
    match member.split_once('=') {
        Some((key, value)) => {
            let preference: u16 = trim(value).parse().ok()?;
            (preference <= 10).then_some(())?;
            Some((Algorithm::from_repr_digest_name(trim(key))?, preference * FULL_WEIGHT / 10))
        }
        None => Some((Algorithm::from_repr_digest_name(trim(member))?, q_weight(parameters)?)),
    }
}

/// The weight in parameters like `q=0.5`; 1 if there is none.
fn q_weight(parameters: &str) -> Option<u16> {
    for parameter in parameters.split(';') {
        if let Some((name, value)) = parameter.split_once('=')
            && trim(name).eq_ignore_ascii_case("q")
        {
            return weight(trim(value));
        }
    }
    Some(FULL_WEIGHT)
}

/// `0.5`, at most 1, at most three decimals.
fn weight(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let whole: u16 = match whole {
        "0" => 0,
        "1" => FULL_WEIGHT,
        _ => return None,
    };
    let thousandths: u16 = format!("{decimals:0<3}").parse().ok()?;
    (whole + thousandths <= FULL_WEIGHT).then_some(whole + thousandths)
}

/// What the client says the checksums of the body are: `Digest`, `Repr-Digest`, `Content-Digest` and `Content-MD5`,
/// each algorithm at most once.
///
/// An upload is the whole file in identity coding, so content and representation are the same. Unknown algorithms are
/// ignored; a known one that cannot be read is refused, as ignoring it would pass for having verified it.
pub fn stated_checksums(request: &Request) -> Result<Vec<Checksum>, BadRequest> {
    let mut stated = Vec::new();
    for element in request.list("digest") {
        let (name, value) = element.split_once('=').unwrap_or((element, ""));
        if let Some(algorithm) = Algorithm::from_name(trim(name)) {
            state(&mut stated, "Digest", algorithm, in_hex_or_base64(algorithm, trim(value)))?;
        }
    }
    for header in ["Repr-Digest", "Content-Digest"] {
        for element in request.list(header) {
            let (key, value) = element.split_once('=').unwrap_or((element, ""));
            if let Some(algorithm) = Algorithm::from_repr_digest_name(trim(key)) {
                state(&mut stated, header, algorithm, in_colons(algorithm, value))?;
            }
        }
    }
    // RFC 1864 says base64; dCache's pool sends and takes hexadecimal digits.
    for value in request.headers("content-md5") {
        state(&mut stated, "Content-MD5", Algorithm::Md5, in_hex_or_base64(Algorithm::Md5, value))?;
    }
    Ok(stated)
}

fn state(
    stated: &mut Vec<Checksum>,
    header: &str,
    algorithm: Algorithm,
    checksum: Option<Checksum>,
) -> Result<(), BadRequest> {
    let Some(checksum) = checksum else {
        return Err(BadRequest::malformed(format!(
            "the value of {algorithm} in the {header} header is malformed"
        )));
    };
    match stated.iter().find(|other| other.algorithm() == algorithm) {
        None => stated.push(checksum),
        Some(same) if *same == checksum => {}
        Some(_) => {
            let text =
                format!("the {header} header contradicts another value of {algorithm} in this request");
            return Err(BadRequest::malformed(text));
        }
    }
    Ok(())
}

/// Hexadecimal digits are tried first. No value is both: 32-bit values have 1 to 8 digits where base64 needs 6 or 8
/// characters of which the last two are padding, and the others' lengths differ.
pub(super) fn in_hex_or_base64(algorithm: Algorithm, value: &str) -> Option<Checksum> {
    Checksum::from_hex(algorithm, value).or_else(|_| Checksum::from_base64(algorithm, value)).ok()
}

/// A byte sequence of structured fields, `:BASE64:` (RFC 8941 §3.3.5), parameters behind it ignored.
pub(super) fn in_colons(algorithm: Algorithm, value: &str) -> Option<Checksum> {
    let (bytes, behind) = trim(value).strip_prefix(':')?.split_once(':')?;
    (behind.is_empty() || behind.starts_with(';')).then_some(())?;
    Checksum::from_base64(algorithm, bytes).ok()
}

/// The value of `Digest`. 32-bit checksums are written as eight hexadecimal digits, others in base64. No space behind
/// the comma: davix does not trim.
pub fn digest_header(checksums: &[Checksum]) -> String {
    let mut value = String::new();
    for checksum in checksums {
        let comma = if value.is_empty() { "" } else { "," };
        let algorithm = checksum.algorithm();
        // Writing to a String cannot fail.
        let _ = if algorithm.inline() {
            write!(value, "{comma}{}={}", algorithm.digest_name(), checksum.hex())
        } else {
            write!(value, "{comma}{}={}", algorithm.digest_name(), checksum.base64())
        };
    }
    value
}

/// The value of `Repr-Digest` (RFC 9530 §3). Empty if none of the algorithms has a name there.
pub fn repr_digest_header(checksums: &[Checksum]) -> String {
    let mut value = String::new();
    for checksum in checksums {
        if let Some(key) = checksum.algorithm().repr_digest_name() {
            let comma = if value.is_empty() { "" } else { "," };
            let _ = write!(value, "{comma}{key}=:{}:", checksum.base64());
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http1::head::tests::request;
    use Algorithm::*;

    fn with_headers(lines: &str) -> Request {
        request(&format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n{lines}"))
    }

    fn checksums(texts: &[&str]) -> Vec<Checksum> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn want_digest_is_ordered_by_weight() {
        let cases: [(&str, &[Algorithm]); 12] = [
            ("ADLER32", &[Adler32]),
            ("MD5,ADLER32;q=0.5", &[Md5, Adler32]),
            ("ADLER32;q=0.5, MD5 , sha-256;q=0.501", &[Md5, Sha256, Adler32]),
            ("crc32c ; q=0.2,crc32;Q=0.3", &[Crc32, Crc32c]),
            ("md5;q=0,adler32", &[Adler32]),
            ("md5;q=0.000", &[]),
            ("SHA,sha-512;q=1.000,md5;q=1.0", &[Sha1, Sha512, Md5]),
            ("UNIXsum, adler32;q=0.1", &[Adler32]),
            ("md5;q=2,sha;q=-1,adler32;q=1.001,crc32;q=0.1234,crc32c;q=x", &[]),
            ("md5;x=y", &[Md5]),
            ("md5;q=0.1,adler32;q=0.2,md5;q=0.3", &[Adler32, Md5]),
            (",,", &[]),
        ];
        for (value, expected) in cases {
            let wanted = WantedDigests::of(&with_headers(&format!("Want-Digest: {value}\r\n")));
            assert_eq!(wanted.digest, expected, "{value}");
            assert!(wanted.repr_digest.is_empty());
        }
    }

    #[test]
    fn want_repr_digest_is_ordered_by_preference() {
        let cases: [(&str, &[Algorithm]); 7] = [
            ("sha-256=10, adler=3", &[Sha256, Adler32]),
            ("adler=3,sha-256=10,md5=0", &[Sha256, Adler32]),
            ("sha-512=3, sha-256=10;x=y, unixsum=1", &[Sha256, Sha512]),
            ("adler=11,md5=-1,sha=1.5,crc32c=x", &[]),
            ("adler", &[Adler32]),
            ("adler;q=0.5, md5", &[Md5, Adler32]),
            ("adler32=1, crc32=1, SHA-256=1", &[]),
        ];
        for (value, expected) in cases {
            let wanted = WantedDigests::of(&with_headers(&format!("Want-Repr-Digest: {value}\r\n")));
            assert_eq!(wanted.repr_digest, expected, "{value}");
        }
        let both =
            WantedDigests::of(&with_headers("Want-Digest: md5\r\nWant-Repr-Digest: adler=1, md5=1\r\n"));
        assert_eq!(both.algorithms().iter().collect::<Vec<_>>(), [Adler32, Md5]);
    }

    #[test]
    fn what_the_client_states_is_read_in_all_its_forms() {
        let cases: [(&str, &[&str]); 11] = [
            ("", &[]),
            ("Digest: adler32=3DA0195\r\n", &["adler32:03da0195"]),
            (
                "Digest: md5=rFb0uPrFc5zNtFd30xO+zw==,adler32=af543afc\r\n",
                &["md5:ac56f4b8fac5739ccdb45777d313becf", "adler32:af543afc"],
            ),
            ("Digest: ADLER32=EeYDmA==\r\n", &["adler32:11e60398"]),
            ("Digest: UNIXsum=30637\r\nDigest: crc32c=0a72a4df\r\n", &["crc32c:0a72a4df"]),
            ("Repr-Digest: adler=:EeYDmA==:, sha-999=:x:\r\n", &["adler32:11e60398"]),
            (
                "Repr-Digest: md5=:rFb0uPrFc5zNtFd30xO+zw==:;a=b\r\n",
                &["md5:ac56f4b8fac5739ccdb45777d313becf"],
            ),
            ("Content-Digest: crc32c=:CnKk3w==:\r\n", &["crc32c:0a72a4df"]),
            ("Content-MD5: rFb0uPrFc5zNtFd30xO+zw==\r\n", &["md5:ac56f4b8fac5739ccdb45777d313becf"]),
            ("Content-MD5: AC56F4B8FAC5739CCDB45777D313BECF\r\n", &["md5:ac56f4b8fac5739ccdb45777d313becf"]),
            (
                "Digest: adler32=11e60398\r\nRepr-Digest: adler=:EeYDmA==:\r\nContent-Digest: adler=:EeYDmA==:\r\n",
                &["adler32:11e60398"],
            ),
        ];
        for (lines, expected) in cases {
            assert_eq!(stated_checksums(&with_headers(lines)), Ok(checksums(expected)), "{lines}");
        }
    }

    #[test]
    fn a_known_algorithm_that_cannot_be_read_is_refused_by_name() {
        let cases = [
            ("Digest: adler32=xyz\r\n", "the value of adler32 in the Digest header is malformed"),
            ("Digest: md5\r\n", "the value of md5 in the Digest header is malformed"),
            ("Digest: adler32=123456789\r\n", "the value of adler32 in the Digest header is malformed"),
            ("Digest: md5=rFb0uPrFc5zNtFd30xO=\r\n", "the value of md5 in the Digest header is malformed"),
            (
                "Repr-Digest: sha-256=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\r\n",
                "the value of sha256 in the Repr-Digest header is malformed",
            ),
            (
                "Repr-Digest: adler=:EeYDmA==\r\n",
                "the value of adler32 in the Repr-Digest header is malformed",
            ),
            (
                "Repr-Digest: adler=:EeYDmA==:x\r\n",
                "the value of adler32 in the Repr-Digest header is malformed",
            ),
            (
                "Content-Digest: adler=:11e60398:\r\n",
                "the value of adler32 in the Content-Digest header is malformed",
            ),
            ("Content-MD5: ac56\r\n", "the value of md5 in the Content-MD5 header is malformed"),
            ("Content-MD5:\r\n", "the value of md5 in the Content-MD5 header is malformed"),
            (
                "Digest: adler32=11e60398\r\nRepr-Digest: adler=:EeYDmQ==:\r\n",
                "the Repr-Digest header contradicts another value of adler32 in this request",
            ),
        ];
        for (lines, text) in cases {
            let refused = stated_checksums(&with_headers(lines)).unwrap_err();
            assert_eq!((refused.status, refused.text.as_ref()), (400, text), "{lines}");
        }
    }

    #[test]
    fn digests_are_written_as_peers_read_them() {
        let known =
            checksums(&["adler32:5ae07809", "md5:ac56f4b8fac5739ccdb45777d313becf", "crc32:0000000a"]);
        assert_eq!(digest_header(&known), "adler32=5ae07809,md5=rFb0uPrFc5zNtFd30xO+zw==,crc32=0000000a");
        assert_eq!(repr_digest_header(&known), "adler=:WuB4CQ==:,md5=:rFb0uPrFc5zNtFd30xO+zw==:");
        assert_eq!(digest_header(&[]), "");
        assert_eq!(repr_digest_header(&known[2..]), "");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            chosen in prop::sample::subsequence(Algorithm::ALL.to_vec(), 0..=7),
            bytes in any::<[[u8; 32]; 2]>(),
        ) {
            let known: Vec<Checksum> = chosen
                .into_iter()
                .map(|algorithm| Checksum::new(algorithm, &bytes.concat()[..algorithm.value_bytes()]).unwrap())
                .collect();
            let in_digest = with_headers(&format!("Digest: {}\r\n", digest_header(&known)));
            prop_assert_eq!(stated_checksums(&in_digest), Ok(known.clone()));
            let named: Vec<Checksum> =
                known.iter().filter(|c| c.algorithm().repr_digest_name().is_some()).copied().collect();
            for header in ["Repr-Digest", "Content-Digest"] {
                let request = with_headers(&format!("{header}: {}\r\n", repr_digest_header(&known)));
                prop_assert_eq!(stated_checksums(&request), Ok(named.clone()));
            }
        }

        #[test]
        fn no_value_makes_the_parsers_panic(
            value in "[ -~]{0,60}",
            name in prop::sample::select(vec!["md5", "adler", "sha-256", "adler32"]),
        ) {
            for header in ["Digest", "Repr-Digest", "Content-Digest", "Content-MD5", "Want-Digest", "Want-Repr-Digest"] {
                for line in [format!("{header}: {value}\r\n"), format!("{header}: {name}={value}\r\n")] {
                    let request = with_headers(&line);
                    let _ = stated_checksums(&request);
                    let _ = WantedDigests::of(&request);
                }
            }
        }
    }
}
