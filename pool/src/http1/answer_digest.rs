//! Checksums in a remote server's answer, and the headers that ask for them.

use super::AnswerHead;
use super::digest::{in_colons, in_hex_or_base64};
use super::list::trim;
use crate::checksum::{Algorithm, Checksum};

/// The checksums of the whole file that an answer tells, each algorithm once; of several values the first counts, in
/// the order Repr-Digest, Digest, Content-MD5, OC-Checksum.
///
/// What cannot be read counts as not told: then another way to verify is looked for, or the transfer fails for want of
/// one. `partial`: the answer is a 206, whose Content-MD5 would be that of the part.
pub fn answered_checksums(head: &AnswerHead, partial: bool) -> Vec<Checksum> {
    let mut found: Vec<Checksum> = Vec::new();
    let mut add = |checksum: Option<Checksum>| {
        if let Some(checksum) = checksum
            && !found.iter().any(|known| known.algorithm() == checksum.algorithm())
        {
            found.push(checksum);
        }
    };
    for element in head.list("repr-digest") {
        let (key, value) = element.split_once('=').unwrap_or((element, ""));
        let algorithm = Algorithm::from_repr_digest_name(trim(key));
        add(algorithm.and_then(|algorithm| in_colons(algorithm, value)));
    }
    for element in head.list("digest") {
        let (name, value) = element.split_once('=').unwrap_or((element, ""));
        let algorithm = Algorithm::from_name(trim(name));
        add(algorithm.and_then(|algorithm| in_hex_or_base64(algorithm, trim(value))));
    }
    if !partial {
        for value in head.headers("content-md5") {
            add(in_hex_or_base64(Algorithm::Md5, value));
        }
    }
    // ownCloud's: `Adler32:03da0195`, as EOS and others send it.
    for element in head.list("oc-checksum").flat_map(str::split_whitespace) {
        if let Some((name, value)) = element.split_once(':') {
            let algorithm = Algorithm::from_name(name);
            add(algorithm.and_then(|algorithm| Checksum::from_hex(algorithm, value).ok()));
        }
    }
    found
}

/// The value of `Want-Digest` (RFC 3230 §4.3.1) that asks for these, best first.
pub fn want_digest_header(algorithms: &[Algorithm]) -> String {
    let element = |(rank, algorithm): (usize, &Algorithm)| match rank {
        0 => algorithm.digest_name().to_owned(),
        _ => format!("{};q=0.{}", algorithm.digest_name(), 10 - rank.min(9)),
    };
    algorithms.iter().enumerate().map(element).collect::<Vec<_>>().join(",")
}

/// The value of `Want-Repr-Digest` (RFC 9530 §4) that asks for these, best first; empty if none has a name there.
pub fn want_repr_digest_header(algorithms: &[Algorithm]) -> String {
    let named = algorithms.iter().filter_map(|algorithm| algorithm.repr_digest_name());
    let element = |(rank, name): (usize, &str)| format!("{name}={}", 10 - rank.min(9));
    named.enumerate().map(element).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::answer_head::tests::answer;
    use super::*;

    fn told(headers: &str, partial: bool) -> Vec<String> {
        let head = answer(&format!("HTTP/1.1 200 OK\r\n{headers}"));
        answered_checksums(&head, partial).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_way_to_tell_a_checksum_is_read() {
        let md5 = "md5:ac56f4b8fac5739ccdb45777d313becf";
        let cases: [(&str, &[&str]); 9] = [
            ("", &[]),
            ("Digest: adler32=11e60398\r\n", &["adler32:11e60398"]),
            ("Digest: ADLER32=1e60398, md5=rFb0uPrFc5zNtFd30xO+zw==\r\n", &["adler32:01e60398", md5]),
            ("Repr-Digest: adler=:EeYDmA==:\r\nDigest: adler32=00000001\r\n", &["adler32:11e60398"]),
            ("Content-MD5: rFb0uPrFc5zNtFd30xO+zw==\r\n", &[md5]),
            ("Content-MD5: ac56f4b8fac5739ccdb45777d313becf\r\n", &[md5]),
            ("OC-Checksum: Adler32:11e60398\r\n", &["adler32:11e60398"]),
            ("OC-Checksum: SHA3:00 MD5:ac56f4b8fac5739ccdb45777d313becf\r\n", &[md5]),
            ("Digest: adler32=nonsense,unixsum=7\r\nRepr-Digest: adler=11e60398\r\n", &[]),
        ];
        for (headers, expected) in cases {
            assert_eq!(told(headers, false), expected, "{headers}");
        }
    }

    #[test]
    fn the_md5_of_a_part_is_not_that_of_the_file() {
        let headers = "Content-MD5: rFb0uPrFc5zNtFd30xO+zw==\r\nDigest: adler32=11e60398\r\n";
        assert_eq!(told(headers, true), ["adler32:11e60398"]);
    }

    #[test]
    fn wishes_are_ordered() {
        use Algorithm::{Adler32, Crc32, Md5};
        assert_eq!(want_digest_header(&[Adler32, Crc32, Md5]), "adler32,crc32;q=0.9,md5;q=0.8");
        assert_eq!(want_repr_digest_header(&[Adler32, Crc32, Md5]), "adler=10, md5=9");
        assert_eq!(want_repr_digest_header(&[Crc32]), "");
    }
}
