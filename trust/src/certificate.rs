//! PEM files of certificates and keys, and when a certificate ends.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Why certificates or keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read, or is no PEM.
    #[error("cannot read {path}: {problem}")]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// It holds nothing of what was looked for.
    #[error("{path} holds no {what} (PEM)")]
    Nothing {
        /// The file or directory.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// Certificate and key do not belong together, or are of a kind that TLS does not use.
    #[error("{cert} and {key} cannot be used together: {problem}")]
    Pair {
        /// The certificates' file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The list of revoked certificates, or the verifier built over it.
    #[error("the certificates of {path} cannot be used: {problem}")]
    Trust {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The cryptographic library refuses the protocol versions.
    #[error("TLS cannot be set up: {0}")]
    SetUp(rustls::Error),
}

impl CertificateError {
    /// A file that cannot be read, or whose contents are not what they should be.
    pub fn read(path: &Path, problem: impl std::fmt::Display) -> CertificateError {
        CertificateError::Read { path: path.to_owned(), problem: problem.to_string() }
    }
}

/// The certificates of a PEM file, in its order.
pub fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| CertificateError::read(path, text(&error)))?;
    if certificates.is_empty() {
        return Err(CertificateError::Nothing { path: path.to_owned(), what: "certificate" });
    }
    Ok(certificates)
}

/// When the first certificate of a PEM file ends; `None` where that cannot be told.
pub fn ends_at(path: &Path) -> Result<Option<SystemTime>, CertificateError> {
    Ok(read_chain(path)?.first().and_then(|first| not_after(first).ok()))
}

/// The private key of a PEM file.
pub fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            CertificateError::Nothing { path: path.to_owned(), what: "private key without a passphrase" }
        }
        error => CertificateError::read(path, text(&error)),
    })
}

/// What the system said, without what the library says around it.
pub fn text(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

/// How long a certificate is still good at `now`; `None` when it has ended. An error when its end cannot be found.
pub fn time_left(
    certificate: &CertificateDer<'_>,
    now: SystemTime,
) -> Result<Option<Duration>, NotUnderstood> {
    let ends_at = not_after(certificate)?;
    Ok(ends_at.duration_since(now).ok())
}

/// A certificate in which the end of its validity cannot be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the end of its validity cannot be found")]
pub struct NotUnderstood;

/// The end of a certificate's validity (RFC 5280 §4.1): Certificate > TBSCertificate > validity > notAfter.
pub fn not_after(certificate: &CertificateDer<'_>) -> Result<SystemTime, NotUnderstood> {
    const INTEGER: u8 = 0x02;
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let mut outer = Der(certificate);
    let mut inner = Der(outer.expect(SEQUENCE)?);
    let mut fields = Der(inner.expect(SEQUENCE)?);
    if fields.0.first() == Some(&VERSION) {
        fields.expect(VERSION)?;
    }
    // Serial number, signature algorithm, issuer.
    fields.expect(INTEGER)?;
    fields.expect(SEQUENCE)?;
    fields.expect(SEQUENCE)?;
    let mut validity = Der(fields.expect(SEQUENCE)?);
    validity.next()?;
    let (tag, end) = validity.next()?;
    parse_time(tag, end)
}

/// DER elements one after the other (X.690 §8.1).
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element's tag and contents.
    fn next(&mut self) -> Result<(u8, &'a [u8]), NotUnderstood> {
        let (tag, rest) = self.0.split_first().ok_or(NotUnderstood)?;
        let (first, rest) = rest.split_first().ok_or(NotUnderstood)?;
        let (length, rest) = match *first {
            short @ 0..=0x7f => (usize::from(short), rest),
            long @ 0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f)).ok_or(NotUnderstood)?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            _ => return Err(NotUnderstood),
        };
        let (contents, rest) = rest.split_at_checked(length).ok_or(NotUnderstood)?;
        self.0 = rest;
        Ok((*tag, contents))
    }

    /// The contents of the next element, which has that tag.
    fn expect(&mut self, tag: u8) -> Result<&'a [u8], NotUnderstood> {
        match self.next()? {
            (found, contents) if found == tag => Ok(contents),
            _ => Err(NotUnderstood),
        }
    }
}

/// RFC 5280 §4.1.2.5: YYMMDDHHMMSSZ up to 2049, YYYYMMDDHHMMSSZ from then on.
fn parse_time(tag: u8, digits: &[u8]) -> Result<SystemTime, NotUnderstood> {
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    let text =
        std::str::from_utf8(digits).ok().and_then(|text| text.strip_suffix('Z')).ok_or(NotUnderstood)?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NotUnderstood);
    }
    let full = match (tag, text.len()) {
        (UTC_TIME, 12) => format!("{}{text}", if text < "50" { "20" } else { "19" }),
        (GENERALIZED_TIME, 14) => text.to_owned(),
        _ => return Err(NotUnderstood),
    };
    let number = |from: usize, to: usize| full[from..to].parse::<i16>().map_err(|_| NotUnderstood);
    let small = |from: usize| number(from, from + 2).and_then(|n| i8::try_from(n).map_err(|_| NotUnderstood));
    let time =
        jiff::civil::DateTime::new(number(0, 4)?, small(4)?, small(6)?, small(8)?, small(10)?, small(12)?, 0);
    let time = time.and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC)).map_err(|_| NotUnderstood)?;
    Ok(time.timestamp().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(not_after: (i32, u8, u8)) -> CertificateDer<'static> {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["pool.example.org".into()]).unwrap();
        params.not_after = rcgen::date_time_ymd(not_after.0, not_after.1, not_after.2);
        params.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn the_end_of_a_certificate_is_found_in_both_ways_to_write_it() {
        for (end, seconds) in [((2031, 2, 3), 1_927_843_200), ((2077, 12, 31), 3_408_134_400)] {
            let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(not_after(&certificate(end)), Ok(expected), "{end:?}");
        }
    }

    #[test]
    fn a_certificate_that_has_ended_has_no_time_left() {
        let certificate = certificate((2031, 2, 3));
        let end = not_after(&certificate).unwrap();
        let day = Duration::from_secs(86_400);
        assert_eq!(time_left(&certificate, end - day), Ok(Some(day)));
        assert_eq!(time_left(&certificate, end + day), Ok(None));
    }

    #[test]
    fn whatever_else_is_given_is_not_understood_and_no_panic() {
        let good = certificate((2031, 2, 3));
        for length in 0..good.len().min(300) {
            let cut = CertificateDer::from(good[..length].to_vec());
            assert_eq!(not_after(&cut), Err(NotUnderstood));
        }
        for place in 0..good.len() {
            let mut broken = good.to_vec();
            broken[place] ^= 0xff;
            let _ = not_after(&CertificateDer::from(broken));
        }
        for (tag, text) in [
            (0x17, "310203000000"),
            (0x17, "3102030000Z"),
            (0x18, "20311303000000Z"),
            (0x04, "310203000000Z"),
        ] {
            assert_eq!(parse_time(tag, text.as_bytes()), Err(NotUnderstood), "{text}");
        }
    }

    #[test]
    fn files_that_are_no_certificates_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nonsense.pem");
        let missing = read_chain(&path).unwrap_err().to_string();
        assert!(missing.starts_with(&format!("cannot read {}: No such file", path.display())), "{missing}");
        std::fs::write(&path, "nonsense").unwrap();
        assert!(read_chain(&path).unwrap_err().to_string().ends_with("holds no certificate (PEM)"));
        let no_key = read_key(&path).unwrap_err().to_string();
        assert!(no_key.ends_with("holds no private key without a passphrase (PEM)"), "{no_key}");
    }
}
