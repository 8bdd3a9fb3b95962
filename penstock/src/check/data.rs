//! The data directory: whether it can be used or made, the pool's root in it, names, keys and the first token.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use penstock_door::Config as DoorSettings;
use penstock_door::check::{namespace, secrets};
use penstock_pool::check::disk;
use penstock_pool::config::Config as PoolSettings;
use penstock_service::check::files::{private, readable, writable};
use penstock_service::check::{Finding, Level};

const WHAT: &str = "data";
/// What keys and token say before the first start.
const LATER: &str = "not there yet, the first start makes it";

/// Looks at it, and at what is in it, as far as it is there.
pub fn look(data: &Path, pool: &PoolSettings, door: &DoorSettings) -> anyhow::Result<Vec<Finding>> {
    let mut findings = vec![directory(data)];
    if findings[0].level == Level::Failed {
        return Ok(findings);
    }
    if pool.root.exists() {
        let remedy = format!(
            "as it says; penstock makes {} itself, and it must be of the user that the daemon runs as",
            pool.root.display()
        );
        findings.extend(disk::look(pool).into_iter().map(|finding| match finding.what {
            "root" => finding.with_remedy(remedy.as_str()),
            _ => finding,
        }));
    } else if let Some(place) = existing(data) {
        findings.extend(disk::file_system(place, pool));
    }
    if data.exists() {
        findings.extend(namespace::look(door)?);
    } else {
        findings.push(Finding::ok("namespace", format!("{}: {LATER}", door.namespace)));
    }
    if door.macaroon_keys.exists() {
        findings.extend(secrets::look(door));
    } else {
        findings.push(Finding::ok("macaroon keys", format!("{}: {LATER}", door.macaroon_keys.display())));
    }
    findings.push(token(&data.join("token")));
    Ok(findings)
}

/// The directory, or that which is there above it.
fn existing(path: &Path) -> Option<&Path> {
    path.ancestors().find(|place| place.exists())
}

fn directory(data: &Path) -> Finding {
    let shown = data.display();
    match std::fs::metadata(data) {
        Ok(metadata) if !metadata.is_dir() => {
            Finding::failed(WHAT, format!("{shown} is no directory"), "name another one in data")
        }
        Ok(metadata) => match writable(data) {
            Ok(()) => Finding::ok(WHAT, shown.to_string()),
            Err(error) => Finding::failed(
                WHAT,
                format!("{shown} belongs to user {} and cannot be written: {error}", metadata.uid()),
                "run this as the daemon's user, or chown the directory to it",
            ),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => match existing(data) {
            Some(above) if above.is_dir() && writable(above).is_ok() => {
                Finding::ok(WHAT, format!("{shown}: {LATER}"))
            }
            _ => Finding::failed(
                WHAT,
                format!("{shown} is not there and cannot be made"),
                format!("install -d -o USER -m 750 {shown}, with the user that the daemon runs as"),
            ),
        },
        Err(error) => Finding::failed(WHAT, format!("{shown}: {error}"), "let the daemon's user go there"),
    }
}

fn token(path: &Path) -> Finding {
    const WHAT: &str = "first token";
    let shown = path.display();
    if !path.exists() {
        return Finding::ok(WHAT, format!("{shown}: {LATER}"));
    }
    if let Some(open) = private(WHAT, path) {
        return open;
    }
    match readable(path) {
        Ok(()) => Finding::ok(WHAT, shown.to_string()),
        Err(error) => Finding::failed(
            WHAT,
            format!("{shown} cannot be read: {error}"),
            "run this as the daemon's user, or chown the file to it",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_data_directory_is_there_or_can_be_made() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "x").unwrap();
        for (path, level, told) in [
            (place.path().to_owned(), Level::Ok, ""),
            (place.path().join("a/b"), Level::Ok, LATER),
            (file.clone(), Level::Failed, "is no directory"),
            (file.join("below"), Level::Failed, "below"),
        ] {
            let finding = directory(&path);
            assert_eq!(finding.level, level, "{finding:?}");
            assert!(finding.found.contains(told), "{finding:?}");
        }
    }

    #[test]
    fn a_token_is_nobody_elses() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("token");
        assert!(token(&path).found.ends_with(LATER));
        fs::write(&path, "x").unwrap();
        for (mode, level) in [(0o600, Level::Ok), (0o644, Level::Warning)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(token(&path).level, level, "{mode:o}");
        }
    }
}
