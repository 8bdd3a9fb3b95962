//! Files that a daemon needs: certificates and when they end, keys and who can read them.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{Access, AtFlags, CWD};

use super::Finding;
use crate::records::RecordTarget;

/// A certificate that ends within so many days is told of.
const WARN_DAYS: u64 = 14;
const DAY_SECONDS: u64 = 86_400;

/// When the certificate of a file ends. `ends_at`: what was found there; an error in words, `None` where it cannot be told.
#[must_use]
pub fn dated(what: &'static str, path: &Path, ends_at: Result<Option<SystemTime>, String>) -> Finding {
    let ends_at = match ends_at {
        Err(error) => return Finding::failed(what, error, "correct the file or its path"),
        Ok(None) => return Finding::ok(what, format!("{}: its end cannot be told", path.display())),
        Ok(Some(ends_at)) => ends_at,
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

/// Whether this process may read a file.
pub fn readable(file: &Path) -> std::io::Result<()> {
    Ok(rustix::fs::accessat(CWD, file, Access::READ_OK, AtFlags::EACCESS)?)
}

/// Whether records can go where they are to go.
#[must_use]
pub fn target(what: &'static str, target: &RecordTarget) -> Finding {
    let place = match target {
        RecordTarget::Stderr => return Finding::ok(what, target.to_string()),
        RecordTarget::Journal => Path::new("/run/systemd/journal/socket"),
        RecordTarget::File(path) if path.exists() => path,
        RecordTarget::File(path) => path.parent().unwrap_or(path),
    };
    match writable(place) {
        Ok(()) => Finding::ok(what, target.to_string()),
        Err(error) => Finding::failed(
            what,
            format!("{} cannot be written: {error}", place.display()),
            "let the daemon's user write there (LogsDirectory= of its unit), or choose another target",
        ),
    }
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
    use std::time::Duration;

    use super::super::Level;
    use super::*;

    #[test]
    fn a_certificate_is_good_ends_soon_or_has_ended() {
        let path = Path::new("/etc/penstock/cert.pem");
        let now = SystemTime::now();
        let day = Duration::from_secs(DAY_SECONDS);
        for (ends_at, level, told) in [
            (Ok(Some(now + day * 300)), Level::Ok, "good for 299 d"),
            (Ok(Some(now + day * 3)), Level::Warning, "ends in 2 d"),
            (Ok(Some(now - day)), Level::Failed, "has ended"),
            (Ok(None), Level::Ok, "cannot be told"),
            (Err("cannot read it".to_owned()), Level::Failed, "cannot read it"),
        ] {
            let finding = dated("x", path, ends_at);
            assert_eq!(finding.level, level, "{told}");
            assert!(finding.found.contains(told), "{finding:?}");
        }
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

    #[test]
    fn a_directory_that_is_not_there_takes_no_records() {
        let directory = tempfile::tempdir().unwrap();
        for (path, level) in
            [("/nonexistent/log/records".into(), Level::Failed), (directory.path().join("new"), Level::Ok)]
        {
            assert_eq!(target("records", &RecordTarget::File(path)).level, level);
        }
        assert_eq!(target("records", &RecordTarget::Stderr).level, Level::Ok);
    }
}
