//! Kerberos: whether the door can have its service's keys, and who else can read the keytab. Of the file itself all can be told
//! without the library.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::auth::kerberos::Kerberos;
use penstock_service::check::Finding;
use penstock_service::check::files::{private, readable};

use super::secrets::{age, foreign};

const WHAT: &str = "kerberos";
const KEYTAB: &str = "kerberos, keytab";
/// Where MIT's libraries find the keytab unless told otherwise.
const USUAL_KEYTAB: &str = "/etc/krb5.keytab";
/// What tells them otherwise.
const KEYTAB_VARIABLE: &str = "KRB5_KTNAME";
/// Before the path of one that is a file.
const FILE_KINDS: [&str; 2] = ["FILE:", "WRFILE:"];

/// Looks at the keys of a service.
#[must_use]
pub fn look(service: &str) -> Vec<Finding> {
    let variable = std::env::var(KEYTAB_VARIABLE).ok().filter(|name| !name.is_empty());
    let path = keytab(variable.as_deref());
    let loaded = Kerberos::load(service).map(drop).map_err(|error| error.to_string());
    // The library may have found it elsewhere: krb5.conf has a word in this.
    let elsewhere =
        loaded.is_ok() && variable.is_none() && path.as_deref().is_some_and(|path| !path.exists());
    let keys = match loaded {
        Ok(()) => Finding::ok(WHAT, format!("keys for {service}")),
        Err(error) => Finding::failed(WHAT, error, "correct authentication.kerberos, or the keytab"),
    };
    let file = path.filter(|_| !elsewhere).map(|path| file(&path, rustix::process::geteuid().as_raw()));
    std::iter::once(keys).chain(file).collect()
}

/// The file, where it is one. Its kind may stand before it: `FILE:/etc/krb5.keytab`.
fn keytab(named: Option<&str>) -> Option<PathBuf> {
    let named = named.unwrap_or(USUAL_KEYTAB);
    let path = FILE_KINDS.iter().find_map(|kind| named.strip_prefix(kind));
    match path {
        Some(path) => Some(PathBuf::from(path)),
        // Of another kind: keys in the memory of the process.
        None if named.split_once(':').is_some_and(|(kind, _)| !kind.contains('/')) => None,
        None => Some(PathBuf::from(named)),
    }
}

/// The file as `user` sees it, who asks.
fn file(path: &Path, user: u32) -> Finding {
    let shown = path.display();
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            return Finding::failed(
                KEYTAB,
                format!("{shown} cannot be looked at: {error}"),
                format!(
                    "put the service's keys there (kadmin: ktadd -k), or name the file in {KEYTAB_VARIABLE} of \
                         the unit"
                ),
            );
        }
    };
    let (mode, owner, group) = (metadata.mode(), metadata.uid(), metadata.gid());
    let found = format!("{shown}: mode {:04o}, of user {owner}, group {group}", mode & 0o7777);
    let for_daemon = format!("chown penstock: {shown} && chmod 600 {shown}");
    if !metadata.is_file() {
        return Finding::failed(KEYTAB, format!("{shown} is no file"), "name the keytab, not its directory");
    }
    if mode & 0o022 != 0 {
        let found = format!("{found}: others can write to it");
        return Finding::failed(KEYTAB, found, format!("chmod go-w {shown}"));
    }
    if let Some(open) = private(KEYTAB, path) {
        return open;
    }
    if let Err(error) = readable(path) {
        return Finding::failed(KEYTAB, format!("{found}: cannot be read: {error}"), for_daemon);
    }
    let group_reads = mode & 0o040 != 0 && group != 0;
    match (user, owner) {
        // Root reads everything, and the daemon is not root.
        (0, 0) if !group_reads => Finding::warning(KEYTAB, format!("{found}: for root alone"), for_daemon),
        _ if group_reads => Finding::ok(KEYTAB, found + &age(path)),
        _ => foreign(KEYTAB, path).unwrap_or_else(|| Finding::ok(KEYTAB, found + &age(path))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use penstock_service::check::Level;

    use super::*;

    #[test]
    fn a_keytab_is_where_the_environment_says_or_where_it_always_is() {
        for (named, expected) in [
            (None, Some(USUAL_KEYTAB)),
            (Some("/etc/door.keytab"), Some("/etc/door.keytab")),
            (Some("FILE:/etc/door.keytab"), Some("/etc/door.keytab")),
            (Some("WRFILE:/etc/door.keytab"), Some("/etc/door.keytab")),
            (Some("/etc/a:b"), Some("/etc/a:b")),
            (Some("MEMORY:door"), None),
        ] {
            assert_eq!(keytab(named), expected.map(PathBuf::from), "{named:?}");
        }
    }

    #[test]
    fn kerberos_that_is_asked_for_and_cannot_be_is_a_failure() {
        let findings = look("HTTP@no-such-host.invalid");
        assert_eq!((findings[0].what, findings[0].level), (WHAT, Level::Failed), "{findings:?}");
    }

    #[test]
    fn a_keytab_is_for_the_daemon_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keytab");
        fs::write(&path, "\x05\x02").unwrap();
        let owner = fs::metadata(&path).unwrap().uid();
        for (mode, level, told) in [
            (0o600, Level::Ok, "mode 0600, of user"),
            (0o644, Level::Warning, "read by everybody"),
            (0o660, Level::Failed, "others can write"),
            (0o602, Level::Failed, "others can write"),
        ] {
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            // As its owner, who is not root: what root may read says nothing of the daemon.
            let finding = file(&path, owner.max(1));
            assert_eq!(finding.level, level, "{mode:o}: {finding:?}");
            assert!(finding.found.contains(told), "{finding:?}");
        }
    }

    #[test]
    fn a_keytab_for_root_alone_is_of_no_use_to_the_daemon() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keytab");
        fs::write(&path, "\x05\x02").unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        let finding = file(&path, rustix::process::geteuid().as_raw());
        let expected =
            if rustix::process::geteuid().is_root() { (Level::Warning, true) } else { (Level::Ok, false) };
        assert_eq!((finding.level, finding.found.ends_with("for root alone")), expected, "{finding:?}");
    }

    #[test]
    fn a_keytab_that_is_not_there_says_how_to_make_it() {
        for path in ["/nonexistent/keytab", "/"] {
            let finding = file(Path::new(path), 1);
            assert_eq!((finding.what, finding.level), (KEYTAB, Level::Failed), "{finding:?}");
        }
        assert!(file(Path::new("/nonexistent/keytab"), 1).remedy.contains("KRB5_KTNAME"));
    }
}
