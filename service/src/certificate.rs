//! When a certificate ends, read from its DER: the one field that daemons tell of, so that nobody is surprised by it.

use std::time::SystemTime;

/// A certificate in which the end of its validity cannot be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the end of its validity cannot be found")]
pub struct NotUnderstood;

/// The end of a certificate's validity (RFC 5280 §4.1): Certificate > TBSCertificate > validity > notAfter.
pub fn not_after(certificate: &[u8]) -> Result<SystemTime, NotUnderstood> {
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
    use std::time::Duration;

    use super::*;

    fn certificate(not_after: (i32, u8, u8)) -> Vec<u8> {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["pool.example.org".into()]).unwrap();
        params.not_after = rcgen::date_time_ymd(not_after.0, not_after.1, not_after.2);
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_end_of_a_certificate_is_found_in_both_ways_to_write_it() {
        for (end, seconds) in [((2031, 2, 3), 1_927_843_200), ((2077, 12, 31), 3_408_134_400)] {
            let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(not_after(&certificate(end)), Ok(expected), "{end:?}");
        }
    }

    #[test]
    fn whatever_else_is_given_is_not_understood_and_no_panic() {
        let good = certificate((2031, 2, 3));
        for length in 0..good.len().min(300) {
            assert_eq!(not_after(&good[..length]), Err(NotUnderstood));
        }
        for place in 0..good.len() {
            let mut broken = good.clone();
            broken[place] ^= 0xff;
            let _ = not_after(&broken);
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
}
