//! Files that a daemon needs: certificates and when they end, keys and who can read them.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{Access, AtFlags, CWD};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::Finding;
use crate::certificate::not_after;

/// A certificate that ends within so many days is told of.
const WARN_DAYS: u64 = 14;
const DAY_SECONDS: u64 = 86_400;

/// When the first certificate of a PEM file ends.
#[must_use]
pub fn dated(what: &'static str, path: &Path) -> Finding {
    let first = match CertificateDer::from_pem_file(path) {
        Ok(first) => first,
        Err(error) => {
            let found = format!("{} holds no certificate (PEM): {error}", path.display());
            return Finding::failed(what, found, "correct the file or its path");
        }
    };
    let Ok(ends_at) = not_after(&first) else {
        return Finding::ok(what, format!("{}: its end cannot be told", path.display()));
    };
    match ends_at.duration_since(SystemTime::now()) {
        Err(_) => Finding::failed(what, format!("{} has ended", path.display()), "put a new one there"),
        Ok(left) if left.as_secs() < WARN_DAYS * DAY_SECONDS => {
            let days = left.as_secs() / DAY_SECONDS;
            Finding::warning(what, format!("{} ends in {days} d", path.display()), "put a new one there")
        }
        Ok(left) => {
            Finding::ok(what, format!("{}: good for {} d", path.display(), left.as_secs() / DAY_SECONDS))
        }
    }
}

/// Whether this process may write a file that is there, or make files in a directory.
pub fn writable(place: &Path) -> std::io::Result<()> {
    Ok(rustix::fs::accessat(CWD, place, Access::WRITE_OK, AtFlags::EACCESS)?)
}

/// A key that others can read; `None` when they cannot, or when it is not there at all.
#[must_use]
pub fn private(what: &'static str, path: &Path) -> Option<Finding> {
    let mode = std::fs::metadata(path).ok()?.mode();
    let remedy = format!("chmod o= {}", path.display());
    (mode & 0o004 != 0)
        .then(|| Finding::warning(what, format!("{} can be read by everybody", path.display()), remedy))
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn a_certificate_is_good_ends_soon_or_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cert.pem");
        let key = rcgen::KeyPair::generate().unwrap();
        for (days, level) in [(300, Level::Ok), (3, Level::Warning), (-1, Level::Failed)] {
            let mut parameters = rcgen::CertificateParams::new(vec!["pool01".to_owned()]).unwrap();
            let now = jiff::Timestamp::now().as_second();
            let at = |unix: i64| {
                let date = jiff::Timestamp::from_second(unix).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
                rcgen::date_time_ymd(
                    date.year().into(),
                    date.month().cast_unsigned(),
                    date.day().cast_unsigned(),
                )
            };
            parameters.not_before = at(now - 10 * 86_400);
            parameters.not_after = at(now + days * 86_400 + 60);
            std::fs::write(&path, parameters.self_signed(&key).unwrap().pem()).unwrap();
            assert_eq!(dated("x", &path).level, level, "{days} d");
        }
        std::fs::write(&path, "not a certificate").unwrap();
        assert_eq!(dated("x", &path).level, Level::Failed);
    }

    #[test]
    fn a_key_for_everybody_is_told_of() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "x").unwrap();
        for (mode, told) in [(0o600, false), (0o640, false), (0o644, true)] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(private("x", &path).is_some(), told, "{mode:o}");
        }
    }
}
